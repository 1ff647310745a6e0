/** Reading a room's history in its own order, walking the DAG for other servers, and fetching what is missing of it. */

import { MatrixError } from '../../spec/errors.ts'
import type { Pdu } from '../../spec/events/event.ts'
import { stateKeyOf } from '../../spec/events/event.ts'
import type { EventId, RoomId, ServerName } from '../../spec/ids.ts'
import { isEventId } from '../../spec/ids.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Database } from '../database/database.ts'
import type { Logger } from '../platform/log.ts'
import type { Remote } from '../ports.ts'
import type { Changed, Snapshots } from '../state/state.ts'
import type { Events } from './events.ts'
import type { Gaps } from './gaps.ts'
import type { Numbers } from './numbers.ts'
import type { Outliers } from './outliers.ts'
import { eventRow } from './persist.ts'
import {
  applyOutsideLog,
  closeEdges,
  historyEvents,
  historyGaps,
  lastPointUpTo,
  openEdges,
} from './queries.ts'
import type { Resolver } from './resolution.ts'
import { joinedServers, type RoomViews } from './room-views.ts'
import type { EventStore } from './store.ts'
import type { HistoryPoint, StateRoot, StoredEvent } from './stored-event.ts'

export interface History
  extends Pick<
    Events,
    'history' | 'historyPointAt' | 'missingBetween' | 'backfillFrom' | 'backfill'
  > {
  /** Takes over events, and what is before them, as one server has them; answers how many events came. */
  takeFrom(
    server: ServerName,
    room: RoomId,
    rules: RoomVersionRules,
    from: readonly EventId[],
    limit: number,
  ): Promise<number>
}

interface Needs {
  readonly db: Database
  readonly log: Logger
  readonly serverName: ServerName
  readonly store: EventStore
  readonly views: RoomViews
  readonly snapshots: Snapshots
  readonly resolver: Resolver
  readonly numbers: Numbers
  readonly outliers: Outliers
  readonly gaps: Gaps
  readonly remote: Remote
}

/** Events a walk looks at, gaps a fetch starts from, servers it asks. */
const walkMax = 2_000
const gapsMax = 5
const serversMax = 5
/** Numbers one event may use: its own, its arrival and the nodes of its paths. */
const numbersPerEvent = 40

export function createHistory(needs: Needs): History {
  const { db, store } = needs

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
        ({ pdu, position, rejected }) =>
          pdu.roomId === room && position !== undefined && rejected === undefined,
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
    backfill: (room, before, limit) => backfill(needs, room, before, limit),
    takeFrom: (...asked) => backfillOf(needs, ...asked),
  }
}

/** Asks the servers in the room, one after the other, for what lies before the gaps at a point. */
async function backfill(
  needs: Needs,
  room: RoomId,
  before: HistoryPoint,
  limit: number,
): Promise<number> {
  const { db, views, store, log } = needs
  const view = await views.get(room)
  if (view === undefined) return 0
  const gaps = await historyGaps(db, room, before.depth, gapsMax)
  const from = gaps.map(({ event_id: id }) => id).filter(isEventId)
  if (from.length === 0) return 0
  const servers = [...(await joinedServers(store, view))].filter(
    (server) => server !== needs.serverName,
  )
  for (const server of servers.slice(0, serversMax)) {
    try {
      const count = await backfillOf(needs, server, room, view.rules, from, limit)
      if (count > 0) return count
    } catch (error) {
      log.info({ room, server, error }, 'backfill failed')
    }
  }
  return 0
}

async function backfillOf(
  needs: Needs,
  server: ServerName,
  room: RoomId,
  rules: RoomVersionRules,
  from: readonly EventId[],
  limit: number,
): Promise<number> {
  const { remote, outliers, store, gaps, db } = needs
  const answer = await remote.backfill(server, room, from, limit)
  const pdus = await outliers.verify(room, rules, answer.slice(0, limit))
  const known = await store.get(pdus.map(({ eventId }) => eventId))
  const fresh = pdus
    .filter(({ eventId }) => known.get(eventId)?.stateAfter === undefined)
    .sort((a, b) => a.depth - b.depth)
  const placed = new Map<EventId, StoredEvent>()
  for (const pdu of fresh) {
    await gaps.fetchAuthEvents(server, pdu, rules)
    placed.set(pdu.eventId, await place(needs, server, pdu, rules, placed))
  }
  const events = [...placed.values()]
  await applyOutsideLog(db, 'events', JSON.stringify(events.map((event) => eventRow(event))))
  for (const event of events) store.put(event)
  await closeEdges(
    db,
    events.map(({ pdu }) => pdu.eventId),
  )
  await openEdges(db, room, await edgesOf(store, events))
  // A gap whose other side nobody had ends here, or every page would ask for it again.
  if (events.length === 0) throw new MatrixError('M_NOT_FOUND', 'the server has no more history')
  return events.length
}

/** An older event with the state at it. */
async function place(
  needs: Needs,
  server: ServerName,
  pdu: Pdu,
  rules: RoomVersionRules,
  placed: ReadonlyMap<EventId, StoredEvent>,
): Promise<StoredEvent> {
  const { store, numbers, snapshots, db } = needs
  const before = await stateBefore(needs, server, pdu, rules, placed)
  await numbers.ready(numbersPerEvent)
  const known = (await store.get([pdu.eventId])).get(pdu.eventId)
  const nr = known?.nr ?? numbers.take()
  const own = pdu.stateKey === undefined ? [] : [[stateKeyOf(pdu.type, pdu.stateKey), nr] as const]
  const after = await snapshots.update(before.root, new Map(own))
  const rows = [...before.rows, ...after.rows]
  if (rows.length > 0) await applyOutsideLog(db, 'state_nodes', JSON.stringify(rows))
  return {
    nr,
    pdu,
    text: pdu.text ?? JSON.stringify(pdu.json),
    // Arrival counts downwards for what is older than what is here.
    position: -numbers.take(),
    stateBefore: before.root,
    stateAfter: after.root,
    softFailed: false,
  }
}

/** From the event's own earlier events where they are here, or as the server says it. */
async function stateBefore(
  { store, resolver, gaps }: Needs,
  server: ServerName,
  pdu: Pdu,
  rules: RoomVersionRules,
  placed: ReadonlyMap<EventId, StoredEvent>,
): Promise<Changed> {
  if (pdu.type === 'm.room.create') return { root: 0, rows: [] }
  const find = async (ids: readonly EventId[]) => {
    const found = new Map(await store.get(ids))
    for (const id of ids) {
      const event = placed.get(id)
      if (event !== undefined) found.set(id, event)
    }
    return found
  }
  const byNumber = async (nrs: readonly number[]) => {
    const found = new Map(await store.byNumber(nrs))
    const wanted = new Set(nrs)
    for (const event of placed.values()) if (wanted.has(event.nr)) found.set(event.nr, event)
    return found
  }
  const roots: StateRoot[] = []
  for (const { stateAfter } of (await find(pdu.prevEvents)).values()) {
    if (stateAfter !== undefined) roots.push(stateAfter)
  }
  const isWhole = roots.length > 0 && roots.length === pdu.prevEvents.length
  if (isWhole) return await resolver.resolve(pdu.roomId, rules, roots, find, byNumber)
  return { root: await gaps.fetchState(server, pdu.roomId, pdu.eventId, rules), rows: [] }
}

/** Edges into what is still not here. */
async function edgesOf(
  store: EventStore,
  events: readonly StoredEvent[],
): Promise<{ prev: EventId; event: EventId }[]> {
  const prevs = await store.get(events.flatMap(({ pdu }) => pdu.prevEvents))
  return events.flatMap(({ pdu }) =>
    pdu.prevEvents
      .filter((id) => prevs.get(id)?.stateAfter === undefined)
      .map((id) => ({ prev: id, event: pdu.eventId })),
  )
}
