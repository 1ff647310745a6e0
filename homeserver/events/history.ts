/** Reading a room's history in its own order, and walking the DAG for other servers. */
import type { EventId, RoomId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { Events } from './events.ts'
import { historyEvents, lastPointUpTo } from './queries.ts'
import type { EventStore } from './store.ts'
import type { StoredEvent } from './stored-event.ts'

export type History = Pick<Events, 'history' | 'historyPointAt' | 'missingBetween' | 'backfillFrom'>

interface Needs {
  readonly db: Database
  readonly store: EventStore
}

/** Events a walk looks at. */
const walkMax = 2_000

export function createHistory({ db, store }: Needs): History {
  /** Events reached backwards from `ids`, the newest depth first, without those of `stop`. */
  async function walk(
    room: RoomId,
    from: readonly EventId[],
    stop: ReadonlySet<EventId>,
    limit: number,
    withStart: boolean,
  ): Promise<StoredEvent[]> {
    const found = new Map<EventId, StoredEvent>()
    const seen = new Set<EventId>(from)
    let front = from
    for (
      let looked = 0, isStart = true;
      front.length > 0 && found.size < limit && looked < walkMax;
      isStart = false
    ) {
      const events = [...(await store.get(front)).values()].filter(
        ({ pdu, position, rejected, softFailed }) =>
          // A soft-failed event is given to whoever asks for what is before an event that refers to it.
          pdu.roomId === room &&
          (position !== undefined || (softFailed && !isStart)) &&
          rejected === undefined,
      )
      looked += front.length
      const next: StoredEvent[] = events.sort((a, b) => b.pdu.depth - a.pdu.depth)
      if (!isStart || withStart)
        for (const event of next) if (found.size < limit) found.set(event.pdu.eventId, event)
      const ids: EventId[] = []
      for (const { pdu } of next) {
        for (const id of pdu.prevEvents) {
          if (seen.has(id) || stop.has(id)) continue
          seen.add(id)
          ids.push(id)
        }
      }
      front = ids
    }
    return [...found.values()]
  }

  return {
    async history(room, { from, to, dir, limit }) {
      const low = dir === 'f' ? from : to
      const high = dir === 'f' ? to : from
      const rows = await historyEvents(db, room, {
        dir,
        limit,
        low: low && [low.depth, low.arrival],
        high: high && [high.depth, high.arrival],
      })
      return store.read(rows)
    },
    async historyPointAt(room, position) {
      const point = await lastPointUpTo(db, room, position)
      // Just after it: bounds are exclusive.
      return { depth: point?.depth ?? 0, arrival: (point?.position ?? 0) + 1 }
    },
    async missingBetween(room, earliest, latest, limit, minDepth) {
      const found = await walk(room, latest, new Set([...earliest, ...latest]), limit, false)
      const deep = found.filter(({ pdu }) => pdu.depth >= minDepth)
      return deep.sort((a, b) => a.pdu.depth - b.pdu.depth)
    },
    backfillFrom: (room, from, limit) => walk(room, from, new Set(), limit, true),
  }
}
