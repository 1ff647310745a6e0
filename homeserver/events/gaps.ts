/** Fetching what is missing, before a room's turn: auth events, earlier events, the state at a gap, older history. */
import { MatrixError } from '../../spec/errors.ts'
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import {
  createIdOfRoom,
  type EventId,
  isEventId,
  type RoomId,
  type ServerName,
} from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Database } from '../database/database.ts'
import type { Remote } from '../ports.ts'
import type { Snapshots } from '../state/state.ts'
import type { Numbers } from './numbers.ts'
import type { Outliers } from './outliers.ts'
import { applyOutsideLog, findRoom } from './queries.ts'
import type { EventStore } from './store.ts'
import type { StateRoot, StoredEvent } from './stored-event.ts'

export interface Gaps {
  /** Afterwards the auth events of a PDU are stored. @throws MatrixError when they cannot be had */
  fetchAuthEvents(origin: ServerName, pdu: Pdu, rules: RoomVersionRules): Promise<void>
  /**
   * Fetches the events before a PDU, oldest first to `process`. When they do not reach what is stored, answers the
   * state before the PDU as the origin says it.
   */
  fetchPrevEvents(
    origin: ServerName,
    pdu: Pdu,
    rules: RoomVersionRules,
    process: (older: readonly Pdu[]) => Promise<void>,
  ): Promise<StateRoot | undefined>
  /** State before an event that has a prev event which is not here; undefined when all are. */
  stateForGap(origin: ServerName, pdu: Pdu, rules: RoomVersionRules): Promise<StateRoot | undefined>
  /** The state before an event as another server says it, stored as a snapshot. */
  fetchState(
    origin: ServerName,
    room: RoomId,
    event: EventId,
    rules: RoomVersionRules,
  ): Promise<StateRoot>
  /** A snapshot of given events. */
  snapshotOf(events: Iterable<StoredEvent>): Promise<StateRoot>
}

/** Events asked for at once by get_missing_events, and auth events fetched one by one. */
const missingMax = 20
const singleFetchesMax = 50
/** Numbers a snapshot may use for its nodes, per event. */
const nodesPerEvent = 4
const chunkNodes = 1_000

interface Needs {
  readonly db: Database
  readonly store: EventStore
  readonly snapshots: Snapshots
  readonly numbers: Numbers
  readonly outliers: Outliers
  readonly remote: Remote
  /** An event that is accepted and not yet committed. */
  readonly pending: (room: RoomId, id: EventId) => StoredEvent | undefined
}

export function createGaps({
  db,
  store,
  snapshots,
  numbers,
  outliers,
  remote,
  pending,
}: Needs): Gaps {
  async function absent(
    room: RoomId,
    ids: readonly EventId[],
    isThere: (event: StoredEvent) => boolean = () => true,
  ): Promise<EventId[]> {
    const unread = ids.filter((id) => {
      const event = pending(room, id) ?? store.peek(id)
      return event === undefined || !isThere(event)
    })
    if (unread.length === 0) return []
    const known = await store.get(unread)
    return unread.filter((id) => {
      const event = known.get(id)
      return event === undefined || !isThere(event)
    })
  }

  const unplaced = (pdu: Pdu) =>
    absent(pdu.roomId, pdu.prevEvents, ({ stateAfter }) => stateAfter !== undefined)

  async function fetchAuthEvents(
    origin: ServerName,
    pdu: Pdu,
    rules: RoomVersionRules,
  ): Promise<void> {
    if ((await absent(pdu.roomId, pdu.authEvents)).length === 0) return
    const chain = await remote.eventAuth(origin, pdu.roomId, pdu.eventId)
    await outliers.store(rules, await outliers.verify(pdu.roomId, rules, chain))
    const still = await absent(pdu.roomId, pdu.authEvents)
    await fetchSingly(origin, pdu.roomId, still, rules)
    if ((await absent(pdu.roomId, pdu.authEvents)).length > 0) {
      throw new MatrixError('M_NOT_FOUND', 'auth events are missing')
    }
  }

  async function fetchSingly(
    origin: ServerName,
    room: RoomId,
    ids: readonly EventId[],
    rules: RoomVersionRules,
  ) {
    const found: JsonObject[] = []
    for (const id of ids.slice(0, singleFetchesMax)) {
      try {
        found.push(await remote.getEvent(origin, id))
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error
      }
    }
    await outliers.store(rules, await outliers.verify(room, rules, found))
  }

  async function fetchPrevEvents(
    origin: ServerName,
    pdu: Pdu,
    rules: RoomVersionRules,
    process: (older: readonly Pdu[]) => Promise<void>,
  ): Promise<StateRoot | undefined> {
    if ((await unplaced(pdu)).length === 0) return undefined
    const { roomId: room, eventId } = pdu
    const row = await findRoom(db, room)
    const earliest = (row?.extremities ?? []).filter(isEventId)
    const query = { earliest, latest: [eventId], limit: missingMax, minDepth: 0 }
    try {
      const found = await remote.missingEvents(origin, room, query)
      const older = await outliers.verify(room, rules, found.slice(0, missingMax))
      await process(older.filter((event) => event.eventId !== eventId).sort(byDepth))
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error
    }
    return await stateForGap(origin, pdu, rules)
  }

  async function stateForGap(
    origin: ServerName,
    pdu: Pdu,
    rules: RoomVersionRules,
  ): Promise<StateRoot | undefined> {
    if ((await unplaced(pdu)).length === 0) return undefined
    return await fetchState(origin, pdu.roomId, pdu.eventId, rules)
  }

  async function fetchState(
    origin: ServerName,
    room: RoomId,
    event: EventId,
    rules: RoomVersionRules,
  ): Promise<StateRoot> {
    const ids = await remote.stateIds(origin, room, event)
    const all = [...new Set([...ids.auth_chain_ids, ...ids.pdu_ids])]
    const missing = await absent(room, all)
    if (missing.length > singleFetchesMax) {
      const whole = await remote.state(origin, room, event)
      const pdus = await outliers.verify(room, rules, [...whole.auth_chain, ...whole.pdus])
      await outliers.store(rules, pdus)
    } else if (missing.length > 0) {
      await fetchSingly(origin, room, missing, rules)
    }
    const state = await store.get(ids.pdu_ids)
    return await snapshotOf(
      [...state.values()].filter(
        ({ rejected, pdu }) => rejected === undefined && pdu.roomId === room,
      ),
    )
  }

  async function snapshotOf(events: Iterable<StoredEvent>): Promise<StateRoot> {
    const changes = new Map<StateKey, number>()
    for (const { nr, pdu } of events) {
      if (pdu.stateKey !== undefined) changes.set(stateKeyOf(pdu.type, pdu.stateKey), nr)
    }
    await numbers.ready(changes.size * nodesPerEvent)
    const { root, rows } = await snapshots.update(0, changes)
    for (let at = 0; at < rows.length; at += chunkNodes) {
      await applyOutsideLog(db, 'state_nodes', JSON.stringify(rows.slice(at, at + chunkNodes)))
    }
    return root
  }

  return { fetchAuthEvents, fetchPrevEvents, stateForGap, fetchState, snapshotOf }
}

function byDepth(a: Pdu, b: Pdu): number {
  return a.depth - b.depth
}

/** The id of a room's create event, where the room's id is its hash. */
export function createIdFor(room: RoomId, rules: RoomVersionRules): EventId | undefined {
  return rules.createHashRoomId ? createIdOfRoom(room) : undefined
}
