/**
 * What relates to events, summed up for all viewers alike. Most events have nothing: of those that arrived while this
 * process was running that is known without a look, and of the others it is remembered.
 */
import { type EventId, isEventId, type UserId } from '../../spec/ids.ts'
import { objectAt } from '../../spec/json.ts'
import { relationOf } from '../../spec/room/relation.ts'
import type { Database } from '../database/database.ts'
import { createCache } from '../platform/cache.ts'
import type { LogEntry, LogRow, Position, Tail } from '../stream/log.ts'
import { isPurge } from './purged.ts'
import * as queries from './relation-queries.ts'
import { isEventPayload } from './room-views.ts'
import type { EventStore } from './store.ts'
import type { StoredEvent } from './stored-event.ts'

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
  /** How many events of the thread are each user's. */
  readonly counts: ReadonlyMap<UserId, number>
}

export interface Aggregates {
  /** The aggregates of those of the events that have any. */
  of(events: readonly StoredEvent[]): Promise<ReadonlyMap<EventId, Aggregate>>
}

/** Kinds of relations that are summed up. */
const summedUp = ['m.replace', 'm.reference', 'm.thread']
const cacheBytesMax = 16 * 1024 * 1024
/** Targets of relations that arrived lately are remembered, in two generations of so many. */
const targetsMax = 20_000
/** Replacements that are looked at for a valid one. */
const replacementsMax = 5
const referencesMax = 1_000
/** Events of which it is known that nothing relates to them have this. */
const nothing: Aggregate = {}
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
    load: (ids) => load({ db, store }, ids),
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
    const target = relationOf(event.pdu)?.target
    if (target !== undefined) changed(target, position)
    if (redacts !== undefined) forget(redacts, position)
  }

  function changed(target: EventId, position: Position): void {
    arrivals.add(target, position)
    cache.invalidate(target)
  }

  /** What relates to an event has changed, or it was redacted and what it relates to has changed. */
  function forget(id: EventId, position: Position): void {
    changed(id, position)
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

  /** Forgets those that name an event which is redacted by now: its row may be on the way. */
  async function loaded(ids: readonly EventId[]): Promise<ReadonlyMap<EventId, Aggregate>> {
    const found = await cache.getMany(ids)
    const stale = [...found].filter(([, aggregate]) => namesRedacted(store, aggregate))
    if (stale.length === 0) return found
    const again = stale.map(([id]) => id)
    for (const id of again) cache.invalidate(id)
    return new Map([...found, ...(await cache.getMany(again))])
  }

  return {
    async of(events) {
      const ids = events.flatMap(({ pdu, position }) =>
        arrivals.mayHave(pdu.eventId, position) ? [pdu.eventId] : [],
      )
      if (ids.length === 0) return none
      const found = new Map(await loaded(ids))
      for (const [id, aggregate] of found) if (aggregate === nothing) found.delete(id)
      return found
    },
  }
}

const none: ReadonlyMap<EventId, Aggregate> = new Map()

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

async function load(
  { db, store }: Pick<Needs, 'db' | 'store'>,
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

async function loadEdits(db: Database, store: EventStore, ids: readonly EventId[]) {
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
  const counts = new Map<EventId, Map<UserId, number>>()
  for (const { id, sender, count } of await queries.threadSenders(db, ids)) {
    const ofThread = counts.get(id) ?? new Map<UserId, number>()
    counts.set(id, ofThread.set(sender, count))
  }
  for (const { id, event_id } of await queries.newestInThreads(db, ids, [], 1)) {
    const ofThread = counts.get(id)
    if (ofThread !== undefined) threads.set(id, { latest: event_id, counts: ofThread })
  }
  return threads
}
