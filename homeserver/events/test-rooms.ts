import type { Pdu } from '../../spec/events/event.ts'
import type { EventId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { Numbers } from './numbers.ts'
import type { StoredEvent } from './stored-event.ts'

/** Events of a generated room as the engine would have stored them; those past a number are still on their way. */
export async function storedRoom(
  db: Database,
  numbers: Numbers,
  room: { readonly events: ReadonlyMap<EventId, Pdu>; readonly rejected: ReadonlySet<EventId> },
  pendingFrom: number,
) {
  const byId = new Map<EventId, StoredEvent>()
  const byNr = new Map<number, StoredEvent>()
  const pending: StoredEvent[] = []
  const edges: [number, number][] = []
  await numbers.ready(room.events.size)
  for (const pdu of room.events.values()) {
    const nr = numbers.take()
    const isRejected = room.rejected.has(pdu.eventId)
    const text = JSON.stringify(pdu.json)
    const event = { nr, pdu, text, softFailed: false, ...(isRejected && { rejected: 'so' }) }
    byId.set(pdu.eventId, event)
    byNr.set(nr, event)
    if (byId.size > pendingFrom) pending.push(event)
    else for (const id of pdu.authEvents) edges.push([byId.get(id)?.nr ?? 0, nr])
  }
  await db.query(
    `insert into auth_edges (auth_nr, nr) select * from unnest($1::bigint[], $2::bigint[])
     on conflict do nothing`,
    [edges.map(([auth]) => auth), edges.map(([, nr]) => nr)],
  )
  return { byId, byNr, pending }
}
