/** Reading what relates to what: pages of related events, threads of a room, and sums of both. */
import type { EventId, RoomId, UserId } from '../../spec/ids.ts'
import { relationOf } from '../../spec/room/relation.ts'
import type { Database } from '../database/database.ts'
import type { Tail } from '../stream/log.ts'
import type { Aggregate } from './aggregate.ts'
import { createAggregates } from './aggregates.ts'
import * as queries from './relation-queries.ts'
import type { EventStore } from './store.ts'
import type { HistoryPoint, StoredEvent } from './stored-event.ts'

/** Which related events to read. */
export interface RelatedQuery {
  readonly relType?: string
  readonly eventType?: string
  /** Also what relates to related events, up to {@link recursionDepth} steps away. */
  readonly recurse: boolean
  readonly dir: 'f' | 'b'
  /** Bounds of the room's history; exclusive. */
  readonly from?: HistoryPoint
  readonly to?: HistoryPoint
  readonly limit: number
}

/** A thread, and the newest event in it that counts. */
export interface Thread {
  readonly root: StoredEvent
  readonly place: HistoryPoint
}

export interface Relations {
  /** The sums of what relates to those of the events that have any; the same for all viewers. */
  aggregates(events: readonly StoredEvent[]): Promise<ReadonlyMap<EventId, Aggregate>>
  /** A page of what relates to an event of the room and is not redacted, in the order of the room's history. */
  related(room: RoomId, target: EventId, query: RelatedQuery): Promise<readonly StoredEvent[]>
  /** The events that somebody related something to, of all senders and kinds or of these. */
  keepRelated(
    events: readonly StoredEvent[],
    by: { readonly senders?: readonly string[]; readonly relTypes?: readonly string[] },
  ): Promise<readonly StoredEvent[]>
  /** The threads of a room whose newest events come before a place, the newest first. */
  threads(
    room: RoomId,
    before: HistoryPoint | undefined,
    limit: number,
  ): Promise<{ readonly found: readonly Thread[]; readonly next?: HistoryPoint }>
  /** The newest events of a thread but those of some users. */
  newestInThread(
    root: EventId,
    but: ReadonlySet<UserId>,
    limit: number,
  ): Promise<readonly StoredEvent[]>
  /** Has a user annotated an event with the same before. */
  hasAnnotated(
    target: EventId,
    by: { readonly sender: UserId; readonly type: string; readonly key: string },
  ): Promise<boolean>
}

/** How many steps away related events are looked for. */
export const recursionDepth = 3
/** Ignored users that are left out of a thread's newest events. */
const leftOutMax = 1_000
/** How often a list of threads is read again after it was corrected. */
const correctionsMax = 3

interface Needs {
  readonly db: Database
  readonly store: EventStore
  readonly tail: Pick<Tail, 'subscribe'>
}

export function createRelations(needs: Needs): Relations {
  const { db, store } = needs
  const aggregates = createAggregates(needs)

  async function inOrder(rows: readonly { event_id: EventId }[]): Promise<StoredEvent[]> {
    const found = await store.get(rows.map(({ event_id }) => event_id))
    return rows.flatMap(({ event_id }) => found.get(event_id) ?? [])
  }

  /** What rows of the list of threads stand for now. */
  async function current(rows: readonly queries.ThreadRow[]) {
    const roots = await store.get(rows.map(({ root }) => root))
    const sums = await aggregates.of([...roots.values()])
    return rows.map((row) => {
      const thread = sums.get(row.root)?.thread
      const root = roots.get(row.root)
      // Of a thread that begins in history which is not here nothing can be said.
      const isRight = root === undefined || thread?.place.arrival === row.position
      return { row, root: thread && root, isRight }
    })
  }

  return {
    aggregates: aggregates.of,
    async related(room, target, query) {
      const { dir, from, to, limit, recurse } = query
      if (![query.relType, query.eventType].every(isAskable)) return []
      const [low, high] = dir === 'f' ? [from, to] : [to, from]
      const range = {
        ...{ dir, limit, relType: query.relType, eventType: query.eventType },
        ...{ low: low && placeOf(low), high: high && placeOf(high) },
      }
      const steps = recurse ? recursionDepth : 1
      return await inOrder(await queries.childrenOf(db, room, target, range, steps))
    },
    async keepRelated(events, { senders, relTypes }) {
      if (events.length === 0) return events
      const ids = events.map(({ pdu }) => pdu.eventId)
      const rows = await queries.relatedAmong(db, ids, senders, relTypes?.filter(isAskable))
      const related = new Set(rows.map(({ id }) => id))
      return events.filter(({ pdu }) => related.has(pdu.eventId))
    },
    async threads(room, before, limit) {
      for (let tries = 0; ; tries++) {
        const rows = await queries.threadsOf(db, room, before && placeOf(before), limit)
        const threads = await current(rows)
        // Of what begins in history that is not here it is looked once whether there is anything left of it.
        const wrong = threads.filter(({ isRight, root }) => !isRight || (!root && tries === 0))
        if (wrong.length > 0 && tries < correctionsMax) {
          await queries.correctThreads(
            db,
            room,
            wrong.map(({ row }) => row.root),
          )
          continue
        }
        const found = threads.flatMap(({ row, root }) =>
          root !== undefined && relationOf(root.pdu) === undefined
            ? [{ root, place: pointOf(row) }]
            : [],
        )
        const last = rows.length < limit ? undefined : rows.at(-1)
        return last === undefined ? { found } : { found, next: pointOf(last) }
      }
    },
    async newestInThread(root, but, limit) {
      const leftOut = [...but].slice(0, leftOutMax)
      return await inOrder(await queries.newestInThreads(db, [root], leftOut, limit))
    },
    hasAnnotated: async (target, by) =>
      isAskable(by.key) && (await queries.hasAnnotated(db, target, by)),
  }
}

/** The database keeps no NUL, and may not be asked for one. */
function isAskable(text: string | undefined): boolean {
  return text?.includes('\0') !== true
}

function placeOf({ depth, arrival }: HistoryPoint): readonly [number, number] {
  return [depth, arrival]
}

function pointOf({ depth, position }: queries.ThreadRow): HistoryPoint {
  return { depth, arrival: position }
}
