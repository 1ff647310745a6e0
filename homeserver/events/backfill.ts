/** Fetching the history before a gap from other servers: which are asked, and what becomes of their answers. */
import { LRUCache } from 'lru-cache'
import { MatrixError } from '../../spec/errors.ts'
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import {
  type EventId,
  isEventId,
  isUserId,
  type RoomId,
  type ServerName,
  serverOfUser,
} from '../../spec/ids.ts'
import { objectAt } from '../../spec/json.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Database } from '../database/database.ts'
import { atMost } from '../platform/cache.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Remote } from '../ports.ts'
import type { Snapshots } from '../state/state.ts'
import { ancestorsOf } from './ancestors.ts'
import type { Events } from './events.ts'
import { createIdFor, type Gaps } from './gaps.ts'
import { joinedServers } from './joined-servers.ts'
import type { Outliers } from './outliers.ts'
import type { Placing } from './placing.ts'
import { closeEdges, historyGaps, openEdges } from './queries.ts'
import type { RoomViews } from './room-views.ts'
import type { EventStore } from './store.ts'
import type { HistoryPoint, StoredEvent } from './stored-event.ts'

interface Needs {
  readonly db: Database
  readonly log: Logger
  readonly clock: Clock
  readonly serverName: ServerName
  readonly store: EventStore
  readonly views: RoomViews
  readonly snapshots: Snapshots
  readonly outliers: Outliers
  readonly gaps: Gaps
  readonly remote: Remote
  readonly placing: Placing
}

/** Gaps that one fetch starts from, servers it asks, and users with power whose servers come first. */
const gapsMax = 5
const serversMax = 5
const powerfulMax = 20
/** A server that failed, or had nothing, is not asked about the room for so long, in ms. */
const failureMs = 300_000
const failuresMax = 10_000

export interface Backfill extends Pick<Events, 'backfill'> {
  /** Takes over events, and what is before them, as one server has them; answers how many events came. */
  takeFrom(
    server: ServerName,
    room: RoomId,
    rules: RoomVersionRules,
    from: readonly EventId[],
    limit: number,
  ): Promise<number>
}

export function createBackfill(needs: Needs): Backfill {
  const { db, log, clock, views, store } = needs
  const failures = new LRUCache<string, number>({ ...atMost(failuresMax) })
  const underWay = new Map<RoomId, Promise<number>>()

  async function fill(room: RoomId, before: HistoryPoint, limit: number): Promise<number> {
    const view = await views.get(room)
    if (view === undefined) return 0
    const gaps = await historyGaps(db, room, before.depth, gapsMax)
    const ids = gaps.map(({ event_id: id }) => id).filter(isEventId)
    const from = [...(await store.get(ids)).values()]
    if (from.length === 0) return 0
    const present = await joinedServers(store, view)
    const likely = await serversAt(needs, from, view.rules)
    const servers = [...new Set([...likely, ...present])].filter(
      (server) =>
        server !== needs.serverName && (failures.get(`${room} ${server}`) ?? 0) <= clock.now(),
    )
    for (const server of servers.slice(0, serversMax)) {
      try {
        const count = await takeFrom(server, room, view.rules, ids, limit)
        if (count > 0) return count
      } catch (error) {
        log.info({ room, server, error }, 'backfill failed')
      }
      failures.set(`${room} ${server}`, clock.now() + failureMs)
    }
    return 0
  }

  async function takeFrom(...asked: Parameters<Backfill['takeFrom']>): Promise<number> {
    return await take(needs, ...asked)
  }

  return {
    backfill(room, before, limit) {
      const running = underWay.get(room)
      // Who pages through the same room meanwhile finds what this one brings.
      if (running !== undefined) return running
      const filling = fill(room, before, limit).finally(() => underWay.delete(room))
      underWay.set(room, filling)
      return filling
    },
    takeFrom,
  }
}

/** Servers that were in the room at its gaps, those first that are most likely to have what came before. */
async function serversAt(
  { store, snapshots }: Needs,
  from: readonly StoredEvent[],
  rules: RoomVersionRules,
): Promise<readonly ServerName[]> {
  const servers = from.map(({ pdu }) => serverOfUser(pdu.sender))
  const [first] = from
  if (first?.stateBefore === undefined) return servers
  const root = first.stateBefore
  const entry = async (key: StateKey) => {
    const nr = await snapshots.lookup(root, key)
    return nr === undefined ? undefined : (await store.byNumber([nr])).get(nr)?.pdu
  }
  const levels = await entry(stateKeyOf('m.room.power_levels', ''))
  const createId = createIdFor(first.pdu.roomId, rules)
  const create =
    createId === undefined
      ? await entry(stateKeyOf('m.room.create', ''))
      : (await store.get([createId])).get(createId)?.pdu
  const named = Object.keys((levels && objectAt(levels.content, 'users')) ?? {})
  const users = [...(create ? [create.sender] : []), ...named].filter(isUserId)
  for (const user of users.slice(0, powerfulMax)) {
    const member = await entry(stateKeyOf('m.room.member', user))
    if (member?.content['membership'] === 'join') servers.push(serverOfUser(user))
  }
  return servers
}

async function take(
  needs: Needs,
  server: ServerName,
  room: RoomId,
  rules: RoomVersionRules,
  from: readonly EventId[],
  limit: number,
): Promise<number> {
  const { remote, outliers, store, gaps, placing, db, log } = needs
  const answer = await remote.backfill(server, room, from, limit)
  const pdus = await outliers.verify(room, rules, answer.slice(0, limit))
  const known = await store.get([...from, ...pdus.map(({ eventId }) => eventId)])
  const found = new Map(pdus.map((pdu) => [pdu.eventId, pdu]))
  for (const { pdu } of known.values()) found.set(pdu.eventId, pdu)
  const placed = new Map<EventId, StoredEvent>()
  for (const pdu of ancestorsOf({ prevEvents: from }, found)) {
    if (known.get(pdu.eventId)?.stateAfter !== undefined) continue
    try {
      await gaps.fetchAuthEvents(server, pdu, rules)
      placed.set(pdu.eventId, await placing.place(server, pdu, rules, placed))
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error
      log.info({ room, event: pdu.eventId, error }, 'event of the history was left out')
    }
  }
  const events = await placing.store(room, rules, placed)
  await closeEdges(
    db,
    events.map(({ pdu }) => pdu.eventId),
  )
  await openEdges(db, room, await edgesOf(store, events))
  return events.filter(({ position }) => position !== undefined).length
}

/** Edges into what is still not here. */
async function edgesOf(
  store: EventStore,
  events: readonly StoredEvent[],
): Promise<{ prev: EventId; event: EventId }[]> {
  const prevs = await store.get(events.flatMap(({ pdu }) => pdu.prevEvents))
  return events.flatMap(({ pdu }: { pdu: Pdu }) =>
    pdu.prevEvents
      .filter((id) => prevs.get(id)?.stateAfter === undefined)
      .map((id) => ({ prev: id, event: pdu.eventId })),
  )
}
