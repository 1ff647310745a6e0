/** Fetching what is missing, before a room's turn: auth events, earlier events, the state at a gap. */
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
import { ancestorsOf } from './ancestors.ts'
import { type AskMissing, orNothing } from './asking.ts'
import type { Numbers } from './numbers.ts'
import type { Outliers } from './outliers.ts'
import { applyOutsideLog, beginningDepth, findRoom } from './queries.ts'
import type { EventStore } from './store.ts'
import type { StateRoot, StoredEvent } from './stored-event.ts'

export interface Gaps {
  /** Afterwards the auth events of a PDU are stored. @throws MatrixError when they cannot be had */
  fetchAuthEvents(origin: ServerName, pdu: Pdu, rules: RoomVersionRules): Promise<void>
  /** The events right before a PDU that have no place in the room here. */
  missingBefore(pdu: Pdu): Promise<readonly EventId[]>
  /**
   * Asks the origin for the events before a PDU back to what is here, as far as the limits go. Answers those from which
   * the PDU can be reached, each after the ones before it; nothing is stored.
   */
  fetchEarlier(origin: ServerName, pdu: Pdu, rules: RoomVersionRules): Promise<readonly Pdu[]>
  /**
   * The states after those events right before a PDU that are not here, as the origin says them; undefined when all
   * are here. @throws MatrixError when they cannot be had
   */
  statesAtGap(
    origin: ServerName,
    pdu: Pdu,
    rules: RoomVersionRules,
  ): Promise<readonly StateRoot[] | undefined>
  /** The state after an event that itself stays where it is, as another server says it. */
  stateAfter(
    origin: ServerName,
    room: RoomId,
    event: EventId,
    rules: RoomVersionRules,
  ): Promise<StateRoot>
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

export const gapLimits = {
  /** Events of one question to get_missing_events, questions about one gap, and bytes of all their events. */
  missing: 20,
  rounds: 10,
  bytes: 8 * 1024 * 1024,
  /** Events fetched one by one for one purpose, at a time, and how far back along auth events. */
  single: 50,
  atOnce: 8,
  authLevels: 10,
  /** Events right before one event whose state is asked for. */
  statesPerGap: 5,
} as const
/** Numbers a snapshot may use for its nodes, per event. */
const nodesPerEvent = 4
const chunkNodes = 1_000

interface Needs {
  readonly serverName: ServerName
  readonly db: Database
  readonly store: EventStore
  readonly snapshots: Snapshots
  readonly numbers: Numbers
  readonly outliers: Outliers
  readonly remote: Remote
  readonly askMissing: AskMissing
  /** An event that is accepted and not yet committed. */
  readonly pending: (room: RoomId, id: EventId) => StoredEvent | undefined
}

export function createGaps(needs: Needs): Gaps {
  const { serverName, db, store, snapshots, numbers, outliers, remote, askMissing, pending } = needs

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

  const unplaced = (room: RoomId, ids: readonly EventId[]) =>
    absent(room, ids, ({ stateAfter }) => stateAfter !== undefined)

  async function fetchAuthEvents(
    origin: ServerName,
    pdu: Pdu,
    rules: RoomVersionRules,
  ): Promise<void> {
    const { roomId: room, authEvents } = pdu
    if ((await absent(room, authEvents)).length === 0) return
    const chain = await orNothing(() => remote.eventAuth(origin, room, pdu.eventId))
    await outliers.store(rules, await outliers.verify(room, rules, chain))
    await fetchChain(origin, room, await absent(room, authEvents), rules)
    if ((await absent(room, authEvents)).length > 0) {
      throw new MatrixError('M_NOT_FOUND', 'auth events are missing')
    }
  }

  /** Events one by one, with those that authorise them. */
  async function fetchChain(
    origin: ServerName,
    room: RoomId,
    ids: readonly EventId[],
    rules: RoomVersionRules,
  ): Promise<void> {
    const found = new Map<EventId, Pdu>()
    let wanted = ids
    for (let level = 0; wanted.length > 0 && level < gapLimits.authLevels; level++) {
      const pdus = await fetchSingly(
        origin,
        room,
        wanted.slice(0, gapLimits.single - found.size),
        rules,
      )
      for (const pdu of pdus) found.set(pdu.eventId, pdu)
      const named = new Set(pdus.flatMap(({ authEvents }) => authEvents))
      wanted = (await absent(room, [...named])).filter((id) => !found.has(id))
    }
    await outliers.store(rules, [...found.values()])
  }

  /** Those that the origin has and that pass the checks on receipt. */
  async function fetchSingly(
    origin: ServerName,
    room: RoomId,
    ids: readonly EventId[],
    rules: RoomVersionRules,
  ): Promise<Pdu[]> {
    const found: JsonObject[] = []
    for (let at = 0; at < ids.length; at += gapLimits.atOnce) {
      const some = ids.slice(at, at + gapLimits.atOnce)
      const answers = await Promise.all(
        some.map((id) => orNothing(async () => [await remote.getEvent(origin, id)])),
      )
      found.push(...answers.flat())
    }
    const wanted = new Set(ids)
    const pdus = await outliers.verify(room, rules, found)
    return pdus.filter(({ eventId }) => wanted.has(eventId))
  }

  async function fetchEarlier(
    origin: ServerName,
    pdu: Pdu,
    rules: RoomVersionRules,
  ): Promise<readonly Pdu[]> {
    const { roomId: room } = pdu
    const row = await findRoom(db, room)
    const earliest = (row?.extremities ?? []).filter(isEventId).slice(-gapLimits.missing)
    // What led to our join is history. Taken as something new it would stand beside the newest events with its old state.
    const minDepth = await beginningDepth(db, room, serverName)
    const found = new Map<EventId, Pdu>()
    let latest: readonly EventId[] = [pdu.eventId]
    for (let round = 0, bytes = 0; round < gapLimits.rounds && bytes < gapLimits.bytes; round++) {
      const query = { earliest, latest, limit: gapLimits.missing, minDepth }
      const answer = await askMissing(origin, pdu, query)
      const pdus = await outliers.verify(room, rules, answer.slice(0, gapLimits.missing))
      const fresh = pdus.filter(
        ({ eventId, depth }) => eventId !== pdu.eventId && depth >= minDepth && !found.has(eventId),
      )
      for (const one of fresh) {
        found.set(one.eventId, one)
        bytes += sizeOf(one)
      }
      // Who gives fewer than were asked for has no more.
      if (fresh.length === 0 || answer.length < gapLimits.missing) break
      latest = await beginnings(room, fresh, found)
      if (latest.length === 0) break
    }
    return ancestorsOf(pdu, found)
  }

  /** Events of these with a predecessor that is neither among what was found nor here. */
  async function beginnings(
    room: RoomId,
    pdus: readonly Pdu[],
    found: ReadonlyMap<EventId, Pdu>,
  ): Promise<EventId[]> {
    const outside = new Set(pdus.flatMap(({ prevEvents }) => prevEvents))
    for (const id of found.keys()) outside.delete(id)
    const missing = new Set(await unplaced(room, [...outside]))
    return pdus
      .filter(({ prevEvents }) => prevEvents.some((id) => missing.has(id)))
      .map(({ eventId }) => eventId)
      .slice(0, gapLimits.missing)
  }

  async function statesAtGap(
    origin: ServerName,
    { roomId: room, prevEvents }: Pdu,
    rules: RoomVersionRules,
  ): Promise<readonly StateRoot[] | undefined> {
    const missing = await unplaced(room, prevEvents)
    if (missing.length === 0) return undefined
    if (missing.length > gapLimits.statesPerGap) {
      throw new MatrixError('M_NOT_FOUND', 'too many earlier events are missing')
    }
    const roots: StateRoot[] = []
    for (const id of missing) roots.push(await stateAfter(origin, room, id, rules))
    return roots
  }

  /** The state after an event that itself stays where it is. */
  async function stateAfter(
    origin: ServerName,
    room: RoomId,
    id: EventId,
    rules: RoomVersionRules,
  ): Promise<StateRoot> {
    const before = await fetchState(origin, room, id, rules)
    const known = (await store.get([id])).get(id)?.pdu
    const pdu = known ?? (await fetchSingly(origin, room, [id], rules))[0]
    if (pdu === undefined) throw new MatrixError('M_NOT_FOUND', 'an earlier event is missing')
    if (pdu.stateKey === undefined) return before
    const event = (await outliers.store(rules, [pdu])).get(id)
    if (event === undefined || event.rejected !== undefined) return before
    const change = new Map([[stateKeyOf(pdu.type, pdu.stateKey), event.nr]])
    return await changed(before, change)
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
    if (missing.length > gapLimits.single) {
      const whole = await remote.state(origin, room, event)
      const pdus = await outliers.verify(room, rules, [...whole.auth_chain, ...whole.pdus])
      await outliers.store(rules, pdus)
    } else if (missing.length > 0) {
      await outliers.store(rules, await fetchSingly(origin, room, missing, rules))
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
    return await changed(0, changes)
  }

  /** A stored snapshot with some keys changed, stored as well. */
  async function changed(
    from: StateRoot,
    changes: ReadonlyMap<StateKey, number>,
  ): Promise<StateRoot> {
    await numbers.ready(changes.size * nodesPerEvent)
    const { root, rows } = await snapshots.update(from, changes)
    for (let at = 0; at < rows.length; at += chunkNodes) {
      await applyOutsideLog(db, 'state_nodes', JSON.stringify(rows.slice(at, at + chunkNodes)))
    }
    return root
  }

  return {
    fetchAuthEvents,
    missingBefore: ({ roomId, prevEvents }) => unplaced(roomId, prevEvents),
    fetchEarlier,
    statesAtGap,
    stateAfter,
    fetchState,
    snapshotOf,
  }
}

function sizeOf({ text, json }: Pdu): number {
  return text?.length ?? JSON.stringify(json).length
}

/** The id of a room's create event, where the room's id is its hash. */
export function createIdFor(room: RoomId, rules: RoomVersionRules): EventId | undefined {
  return rules.createHashRoomId ? createIdOfRoom(room) : undefined
}
