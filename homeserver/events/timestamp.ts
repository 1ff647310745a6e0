/** Finding an event by when it was sent, here or with the help of other servers. {@link https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event} */
import { MatrixError } from '../../spec/errors.ts'
import type { EventId, RoomId, ServerName } from '../../spec/ids.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Database } from '../database/database.ts'
import type { Logger } from '../platform/log.ts'
import type { Remote } from '../ports.ts'
import type { ClosestQuery, Events } from './events.ts'
import { eventsByTime, hasGaps, isBesideGap, type TimeCursor } from './queries.ts'
import type { RoomViews } from './room-views.ts'
import type { EventStore } from './store.ts'
import type { StoredEvent } from './stored-event.ts'

interface Needs {
  readonly db: Database
  readonly log: Logger
  readonly store: EventStore
  readonly views: RoomViews
  readonly remote: Pick<Remote, 'timestampToEvent'>
  readonly history: Pick<Events, 'history'>
  /** Takes over an event with what is before it, as a server has it; answers how many events came. */
  readonly takeHistory: (
    server: ServerName,
    room: RoomId,
    rules: RoomVersionRules,
    from: readonly EventId[],
    limit: number,
  ) => Promise<number>
}

/** How far from the time is looked, step by step: a narrow range is quickly read in any room. */
const rangesMs = [3_600_000, 24 * 3_600_000, 30 * 24 * 3_600_000, Number.MAX_SAFE_INTEGER]
/** Events of one read, and of all reads of a search. */
const readMax = 50
const searchedMax = 1_000
/** Servers that are asked, and events that are taken over with what one of them names. */
const serversMax = 4
const takenMax = 50

export function createTimestamps(needs: Needs): Pick<Events, 'closestTo'> {
  return {
    async closestTo(room, query) {
      const found = await findHere(needs, room, query)
      if (query.servers === undefined || !(await mayMiss(needs, room, query.dir, found))) {
        return found
      }
      return (await takeCloser(needs, room, query, found))
        ? await findHere(needs, room, query)
        : found
    },
  }
}

/** The closest one of what is stored. */
async function findHere(
  { db, store }: Needs,
  room: RoomId,
  { ts, dir, keep }: ClosestQuery,
): Promise<StoredEvent | undefined> {
  const sign = dir === 'f' ? 1 : -1
  let from: TimeCursor | undefined
  let searched = 0
  for (const rangeMs of rangesMs) {
    const end = Math.max(0, Math.min(ts + sign * rangeMs, Number.MAX_SAFE_INTEGER))
    for (;;) {
      const range = { start: ts, end, dir, from, limit: readMax }
      const events = store.read(await eventsByTime(db, room, range))
      const [found] = await keep(events)
      if (found !== undefined) return found
      searched += events.length
      const last = events.at(-1)
      if (last !== undefined) from = [last.pdu.originServerTs, last.pdu.depth, last.position ?? 0]
      if (events.length < readMax) break
      if (searched >= searchedMax) return undefined
    }
  }
  return undefined
}

/** Whether events are missing between the time and the closest one that is stored. */
async function mayMiss(
  { db, history }: Needs,
  room: RoomId,
  dir: 'f' | 'b',
  found: StoredEvent | undefined,
): Promise<boolean> {
  if (found === undefined) return await hasGaps(db, room)
  if (dir === 'f') return await isBesideGap(db, room, found.pdu.eventId)
  const from = { depth: found.pdu.depth, arrival: found.position ?? 0 }
  const [next] = await history.history(room, { from, dir: 'f', limit: 1 })
  return next !== undefined && (await isBesideGap(db, room, next.pdu.eventId))
}

/** Takes over a closer event from the first server that has one; false when nobody has. */
async function takeCloser(
  needs: Needs,
  room: RoomId,
  { ts, dir, servers = [] }: ClosestQuery,
  found: StoredEvent | undefined,
): Promise<boolean> {
  const rules = (await needs.views.get(room))?.rules
  if (rules === undefined) return false
  const best = found === undefined ? Infinity : Math.abs(found.pdu.originServerTs - ts)
  for (const server of servers.slice(0, serversMax)) {
    try {
      const told = await needs.remote.timestampToEvent(server, room, ts, dir)
      const distance = (told.origin_server_ts - ts) * (dir === 'f' ? 1 : -1)
      if (distance < 0 || distance >= best) continue
      const known = (await needs.store.get([told.event_id])).get(told.event_id)
      if (known?.position !== undefined) return true
      if ((await needs.takeHistory(server, room, rules, [told.event_id], takenMax)) > 0) return true
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error
      needs.log.debug({ room, server, error }, 'no event by its time')
    }
  }
  return false
}
