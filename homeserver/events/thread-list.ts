/** The threads of a room by what was said last in them. The table has upper bounds; who reads it corrects them. */
import type { RoomId } from '../../spec/ids.ts'
import { relationOf } from '../../spec/room/relation.ts'
import type { Database } from '../database/database.ts'
import type { Aggregates } from './aggregates.ts'
import * as queries from './relation-queries.ts'
import type { EventStore } from './store.ts'
import type { HistoryPoint, StoredEvent } from './stored-event.ts'

/** A thread, and the newest event in it that counts. */
export interface Thread {
  readonly root: StoredEvent
  readonly place: HistoryPoint
}

/** Threads whose newest events come before a place, the newest first; `next` is where to go on. */
export type ThreadList = (
  room: RoomId,
  before: HistoryPoint | undefined,
  limit: number,
) => Promise<{ readonly found: readonly Thread[]; readonly next?: HistoryPoint }>

/** How often a list of threads is read again after it was corrected. */
const correctionsMax = 3

interface Needs {
  readonly db: Database
  readonly store: EventStore
  readonly aggregates: Aggregates
}

export function createThreadList({ db, store, aggregates }: Needs): ThreadList {
  /** What rows of the list of threads stand for now. */
  async function current(room: RoomId, rows: readonly queries.ThreadRow[]) {
    const roots = await store.get(rows.map(({ root }) => root))
    const sums = await aggregates.of([...roots.values()])
    return rows.map((row) => {
      const thread = sums.get(row.root)?.thread
      // What another room says of an event is nothing.
      const known = roots.get(row.root)
      const root = known?.pdu.roomId === room ? known : undefined
      // Of a thread that begins in history which is not here nothing can be said.
      const isRight = root === undefined || thread?.place.arrival === row.position
      return { row, root: thread && root, isRight }
    })
  }

  return async (room, before, limit) => {
    for (let tries = 0; ; tries++) {
      const rows = await queries.threadsOf(
        db,
        room,
        before && [before.depth, before.arrival],
        limit,
      )
      const threads = await current(room, rows)
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
  }
}

function pointOf({ depth, position }: queries.ThreadRow): HistoryPoint {
  return { depth, arrival: position }
}
