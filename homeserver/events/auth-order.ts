import type { EventId } from '../../spec/ids.ts'

interface Authorised {
  readonly eventId: EventId
  readonly type: string
  readonly authEvents: readonly EventId[]
}

/** Auth events before what they authorise; a cycle, which no honest server makes, ends where it was entered. */
export function inAuthOrder<E extends Authorised>(events: readonly E[]): E[] {
  const byId = new Map(events.map((event) => [event.eventId, event]))
  const ordered: E[] = []
  const begun = new Set<EventId>()
  for (const start of byId.values()) {
    const open: { event: E; next: number }[] = begun.has(start.eventId)
      ? []
      : [{ event: start, next: 0 }]
    begun.add(start.eventId)
    for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
      const id = top.event.authEvents[top.next++]
      if (id === undefined) {
        ordered.push(top.event)
        open.pop()
        continue
      }
      const auth = byId.get(id)
      if (auth === undefined || begun.has(id)) continue
      begun.add(id)
      open.push({ event: auth, next: 0 })
    }
  }
  // v12: nothing names the create event, which authorises everything.
  return ordered.sort(
    (a, b) => Number(b.type === 'm.room.create') - Number(a.type === 'm.room.create'),
  )
}
