/** Reading what relates to what: pages of related events, threads of a room, and sums of both. */
import type { EventId, RoomId, UserId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { Tail } from '../stream/log.ts'
import type { Aggregate } from './aggregate.ts'
import { createAggregates } from './aggregates.ts'
import * as queries from './relation-queries.ts'
import type { EventStore } from './store.ts'
import type { HistoryPoint, StoredEvent } from './stored-event.ts'
import { createThreadList, type ThreadList } from './thread-list.ts'

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

export interface Relations {
  /** The sums of what relates to those of the events that have any; the same for all viewers. */
  aggregates(events: readonly StoredEvent[]): Promise<ReadonlyMap<EventId, Aggregate>>
  /** A page of what relates to an event of the room and is not redacted, in the order of the room's history. */
  related(room: RoomId, target: EventId, query: RelatedQuery): Promise<readonly StoredEvent[]>
  /** The events (of one room) that somebody related something to, of all senders and kinds or of these. */
  keepRelated(
    events: readonly StoredEvent[],
    by: { readonly senders?: readonly string[]; readonly relTypes?: readonly string[] },
  ): Promise<readonly StoredEvent[]>
  readonly threads: ThreadList
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
      const [first] = events
      if (first === undefined) return events
      const ids = events.map(({ pdu }) => pdu.eventId)
      const by = { senders, relTypes: relTypes?.filter(isAskable) }
      const rows = await queries.relatedAmong(db, first.pdu.roomId, ids, by)
      const related = new Set(rows.map(({ id }) => id))
      return events.filter(({ pdu }) => related.has(pdu.eventId))
    },
    threads: createThreadList({ db, store, aggregates }),
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
