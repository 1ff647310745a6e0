/** Which thread an event is in. {@link https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts} */
import type { EventId } from '../../spec/ids.ts'
import { type Relation, relationOf } from '../../spec/room/relation.ts'
import type { Events } from './events.ts'
import type { StoredEvent } from './stored-event.ts'

/** Relations that are followed from an event to a thread. */
const hopsMax = 3

const none: ReadonlyMap<EventId, EventId> = new Map()

type Reading = Pick<Events, 'get'>

/** Root of the thread that an event is in, also by what it relates to; undefined in the main timeline. */
export async function threadRootOf(
  events: Reading,
  event: StoredEvent,
): Promise<EventId | undefined> {
  const last = (await relationsFrom(events, event)).at(-1)
  return last?.relType === 'm.thread' ? last.target : undefined
}

/** The roots of the threads that events are in, by event, of those that are in one. */
export async function threadRootsOf(
  events: Reading,
  list: readonly StoredEvent[],
): Promise<ReadonlyMap<EventId, EventId>> {
  const related = list.filter(({ pdu }) => pdu.content['m.relates_to'] !== undefined)
  if (related.length === 0) return none
  const roots = new Map<EventId, EventId>()
  for (const event of related) {
    const root = await threadRootOf(events, event)
    if (root !== undefined) roots.set(event.pdu.eventId, root)
  }
  return roots
}

/** Can a receipt of a thread, or of the main timeline, be on an event. */
export async function mayBeReadIn(
  events: Reading,
  event: StoredEvent,
  thread: string,
): Promise<boolean> {
  const last = (await relationsFrom(events, event)).at(-1)
  const isInThread = last?.relType === 'm.thread'
  // A redacted event shows no relation any more.
  if (thread === 'main') return !isInThread || event.redactedBy !== undefined
  // The root and what relates to it go with the thread as well as with the main timeline.
  return (last?.target ?? event.pdu.eventId) === thread
}

/** The relations on the way from an event to a thread, or as far as there are any. */
async function relationsFrom(events: Reading, event: StoredEvent): Promise<readonly Relation[]> {
  const relations: Relation[] = []
  let at: StoredEvent | undefined = event
  while (at !== undefined && relations.length <= hopsMax) {
    const relation = relationOf(at.pdu)
    if (relation === undefined) break
    relations.push(relation)
    if (relation.relType === 'm.thread') break
    at = (await events.get([relation.target])).get(relation.target)
  }
  return relations
}
