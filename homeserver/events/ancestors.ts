import type { Pdu } from '../../spec/events/event.ts'
import type { EventId } from '../../spec/ids.ts'

/**
 * Those of the found events that can be reached from an event by prev_events, each after the ones before it. A cycle, which
 * no honest server makes, ends where it was entered.
 */
export function ancestorsOf(
  start: { readonly eventId?: EventId; readonly prevEvents: readonly EventId[] },
  found: ReadonlyMap<EventId, Pdu>,
): Pdu[] {
  const ordered: Pdu[] = []
  const seen = new Set<EventId | undefined>([start.eventId])
  const open: { readonly of: typeof start; readonly pdu?: Pdu; next: number }[] = [
    { of: start, next: 0 },
  ]
  for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
    const id = top.of.prevEvents[top.next++]
    if (id === undefined) {
      open.pop()
      if (top.pdu !== undefined) ordered.push(top.pdu)
      continue
    }
    const pdu = seen.has(id) ? undefined : found.get(id)
    seen.add(id)
    if (pdu !== undefined) open.push({ of: pdu, pdu, next: 0 })
  }
  return ordered
}
