/** What relates to one event, summed up from the table of relations. */
import type { EventId, UserId } from '../../spec/ids.ts'
import { objectAt } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import type { Position } from '../stream/log.ts'
import * as queries from './relation-queries.ts'
import type { EventStore } from './store.ts'
import type { HistoryPoint, StoredEvent } from './stored-event.ts'

/** What relates to an event; what is redacted does not count. */
export interface Aggregate {
  /** The newest valid replacement. {@link https://spec.matrix.org/v1.19/client-server-api/#validity-of-replacement-events} */
  readonly edit?: EventId
  readonly references?: readonly Reference[]
  readonly thread?: ThreadAggregate
}

export interface Reference {
  readonly eventId: EventId
  readonly sender: UserId
}

export interface ThreadAggregate {
  readonly latest: EventId
  readonly place: HistoryPoint
  /** Position up to which live events are counted. */
  readonly countedTo: Position
  /** How many events of the thread are each user's. */
  readonly counts: ReadonlyMap<UserId, number>
}

/** Kinds of relations that are summed up. */
export const summedUp = ['m.replace', 'm.reference', 'm.thread']
/** Replacements that are looked at for a valid one. */
const replacementsMax = 5
const referencesMax = 1_000
/** Events of which it is known that nothing relates to them have this. */
export const nothing: Aggregate = {}

interface Needs {
  readonly db: Database
  readonly store: Pick<EventStore, 'get'>
}

/** Sums up what relates to each of these. */
export async function loadAggregates(
  { db, store }: Needs,
  ids: readonly EventId[],
): Promise<ReadonlyMap<EventId, Aggregate>> {
  const targets = new Map<string, EventId[]>(summedUp.map((type) => [type, []]))
  for (const { id, rel_type } of await queries.targetsAmong(db, ids, summedUp)) {
    targets.get(rel_type)?.push(id)
  }
  const [edits, references, threads] = await Promise.all([
    loadEdits(db, store, targets.get('m.replace') ?? []),
    loadReferences(db, targets.get('m.reference') ?? []),
    loadThreads(db, targets.get('m.thread') ?? []),
  ])
  const summed = ids.map((id): [EventId, Aggregate] => {
    const [edit, refs, thread] = [edits.get(id), references.get(id), threads.get(id)]
    if (edit === undefined && refs === undefined && thread === undefined) return [id, nothing]
    return [
      id,
      {
        ...(edit !== undefined && { edit }),
        ...(refs !== undefined && { references: refs }),
        ...(thread !== undefined && { thread }),
      },
    ]
  })
  return new Map(summed)
}

async function loadEdits(db: Database, store: Needs['store'], ids: readonly EventId[]) {
  const edits = new Map<EventId, EventId>()
  if (ids.length === 0) return edits
  const rows = await queries.replacementsOf(db, ids, replacementsMax)
  const events = await store.get(rows.map(({ event_id }) => event_id))
  for (const { id, event_id } of rows) {
    const event = events.get(event_id)
    if (!edits.has(id) && event !== undefined && hasNewContent(event)) edits.set(id, event_id)
  }
  return edits
}

/** What is encrypted has its new content inside, where it cannot be seen from here. */
function hasNewContent({ pdu }: StoredEvent): boolean {
  return pdu.type === 'm.room.encrypted' || objectAt(pdu.content, 'm.new_content') !== undefined
}

async function loadReferences(db: Database, ids: readonly EventId[]) {
  const references = new Map<EventId, Reference[]>()
  if (ids.length === 0) return references
  for (const { id, event_id, sender } of await queries.referencesTo(db, ids, referencesMax)) {
    const list = references.get(id)
    const reference = { eventId: event_id, sender }
    if (list === undefined) references.set(id, [reference])
    else list.push(reference)
  }
  return references
}

async function loadThreads(db: Database, ids: readonly EventId[]) {
  const threads = new Map<EventId, ThreadAggregate>()
  if (ids.length === 0) return threads
  const counted = new Map<EventId, { counts: Map<UserId, number>; countedTo: Position }>()
  for (const { id, sender, count, up_to } of await queries.threadSenders(db, ids)) {
    const { counts, countedTo } = counted.get(id) ?? { counts: new Map(), countedTo: 0 }
    counted.set(id, {
      counts: counts.set(sender, count),
      countedTo: Math.max(countedTo, up_to),
    })
  }
  // Read afterwards: what came in between is not counted yet, and the row of the log brings it.
  for (const row of await queries.newestInThreads(db, ids, [], 1)) {
    const known = counted.get(row.id)
    if (known === undefined) continue
    const place = { depth: row.depth, arrival: row.position }
    threads.set(row.id, { ...known, latest: row.event_id, place })
  }
  return threads
}
