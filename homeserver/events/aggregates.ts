/**
 * What relates to events, summed up for all viewers alike. Most events have nothing: of those that arrived while this
 * process was running that is known without a look, and of the others it is remembered.
 */
import type { Pdu } from '../../spec/events/event.ts'
import { type EventId, isEventId } from '../../spec/ids.ts'
import { relationOf } from '../../spec/room/relation.ts'
import type { Database } from '../database/database.ts'
import { type Cache, createCache } from '../platform/cache.ts'
import type { LogEntry, LogRow, Position, Tail } from '../stream/log.ts'
import {
  type Aggregate,
  loadAggregates,
  nothing,
  summedUp,
  type ThreadAggregate,
} from './aggregate.ts'
import { isPurge } from './purged.ts'
import * as queries from './relation-queries.ts'
import { isEventPayload } from './room-views.ts'
import type { EventStore } from './store.ts'
import type { StoredEvent } from './stored-event.ts'

export interface Aggregates {
  /** The aggregates of those of the events that have any. */
  of(events: readonly StoredEvent[]): Promise<ReadonlyMap<EventId, Aggregate>>
}

const cacheBytesMax = 16 * 1024 * 1024
/** A thread with more people in it is read anew when somebody asks, for counting on copies their counts. */
const sendersMax = 1_000
/** Targets of relations that arrived lately are remembered, in two generations of so many. */
const targetsMax = 20_000
const bytesPerEntry = 100
/** `ref` of the log row that says that relations changed of which the log has no event: with the event's id. */
const forgetPrefix = 'relations:'

interface Needs {
  readonly db: Database
  readonly tail: Pick<Tail, 'subscribe'>
  readonly store: EventStore
}

export function createAggregates({ db, tail, store }: Needs): Aggregates {
  const cache = createCache<EventId, Aggregate>({
    bound: { bytesMax: cacheBytesMax, sizeOf },
    load: (ids) => loadAggregates({ db, store }, ids),
  })
  const arrivals = createArrivals()

  tail.subscribe('relations', (rows) => {
    for (const row of rows) onRow(row)
  })

  function onRow(row: LogRow): void {
    const { kind, position, ref, payload } = row
    if (isPurge(row)) cache.clear()
    if (kind === 'invalidate' && ref.startsWith(forgetPrefix)) {
      const id = ref.slice(forgetPrefix.length)
      if (isEventId(id)) forget(id, position)
    }
    if (kind !== 'event' || !isEventPayload(payload)) return
    const { event, redacts } = payload
    arrivals.begin(position)
    // State relates to nothing.
    const relation = event.pdu.stateKey === undefined ? relationOf(event.pdu) : undefined
    if (relation !== undefined && summedUp.includes(relation.relType)) {
      arrivals.add(relation.target, position)
      if (relation.relType === 'm.thread') countIn(relation.target, event, position)
      else cache.invalidate(relation.target)
    }
    if (redacts !== undefined) forget(redacts, position)
  }

  /** A long thread is not read again for each event that it gets. */
  function countIn(root: EventId, { pdu, redactedBy }: StoredEvent, position: Position): void {
    const known = cache.peek(root)
    const isOfRoom = store.peek(root)?.pdu.roomId === pdu.roomId
    const isSmall = (known?.thread?.counts.size ?? 0) <= sendersMax
    if (known?.thread === undefined || !isOfRoom || !isSmall || redactedBy !== undefined) {
      cache.invalidate(root)
    } else if (position > known.thread.countedTo) {
      cache.set(root, { ...known, thread: withOneMore(known.thread, pdu, position) })
    }
  }

  /** What relates to an event has changed, or it was redacted and what it relates to has changed. */
  function forget(id: EventId, position: Position): void {
    arrivals.add(id, position)
    cache.invalidate(id)
    const event = store.peek(id)
    const target = event && relationOf(event.pdu)?.target
    if (target !== undefined) cache.invalidate(target)
    else if (event === undefined) void forgetTargetOf(id)
  }

  /** Never rejects: without the database nobody is told anything old. */
  async function forgetTargetOf(id: EventId): Promise<void> {
    try {
      for (const { relates_to } of await queries.targetsOf(db, [id])) cache.invalidate(relates_to)
    } catch {
      cache.clear()
    }
  }

  return {
    async of(events) {
      const ids = events.flatMap(({ pdu, position }) =>
        arrivals.mayHave(pdu.eventId, position) ? [pdu.eventId] : [],
      )
      if (ids.length === 0) return none
      const found = new Map(await fresh(cache, store, ids))
      for (const [id, aggregate] of found) if (aggregate === nothing) found.delete(id)
      return found
    },
  }
}

const none: ReadonlyMap<EventId, Aggregate> = new Map()

function withOneMore(
  { latest, place, counts }: ThreadAggregate,
  { eventId, sender, depth }: Pdu,
  position: Position,
): ThreadAggregate {
  // It arrived later than all that is counted.
  const isLatest = depth >= place.depth
  return {
    latest: isLatest ? eventId : latest,
    place: isLatest ? { depth, arrival: position } : place,
    countedTo: position,
    counts: new Map(counts).set(sender, (counts.get(sender) ?? 0) + 1),
  }
}

/** Targets of the relations that the tail has brought. */
function createArrivals() {
  /** Nothing relates to an event that arrived after this but what is in the sets. */
  let floor: Position | undefined
  let middle: Position = 0
  let recent = new Set<EventId>()
  let older: ReadonlySet<EventId> = recent
  return {
    begin(position: Position): void {
      floor ??= position - 1
    },
    add(target: EventId, position: Position): void {
      floor ??= position - 1
      recent.add(target)
      if (recent.size < targetsMax) return
      // @NOTE An event that arrives much later than what relates to it is then taken to have nothing.
      floor = Math.max(floor, middle)
      middle = position
      older = recent
      recent = new Set()
    },
    mayHave(id: EventId, position = 0): boolean {
      return floor === undefined || position <= floor || recent.has(id) || older.has(id)
    },
  }
}

/** Forgets those that name an event which is redacted by now: its row may be on the way. */
async function fresh(
  cache: Cache<EventId, Aggregate>,
  store: EventStore,
  ids: readonly EventId[],
): Promise<ReadonlyMap<EventId, Aggregate>> {
  const found = await cache.getMany(ids)
  const stale = [...found].filter(([, aggregate]) => namesRedacted(store, aggregate))
  if (stale.length === 0) return found
  const again = stale.map(([id]) => id)
  for (const id of again) cache.invalidate(id)
  return new Map([...found, ...(await cache.getMany(again))])
}

function namesRedacted(store: EventStore, { edit, thread }: Aggregate): boolean {
  const isRedacted = (id: EventId | undefined) =>
    id !== undefined && store.peek(id)?.redactedBy !== undefined
  return isRedacted(edit) || isRedacted(thread?.latest)
}

function sizeOf({ references = [], thread }: Aggregate): number {
  return bytesPerEntry * (1 + references.length + (thread?.counts.size ?? 0))
}

/** Tells every process that what relates to an event, or what the event relates to, is to be read again. */
export function forgetEntry(id: EventId): LogEntry {
  return { kind: 'invalidate', ref: `${forgetPrefix}${id}`, payload: undefined }
}
