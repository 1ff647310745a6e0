/**
 * The last step of every event, inside its room's turn: state after it, new extremities, new current state, and the
 * one write that makes all of it durable.
 */
import { MatrixError } from '../../spec/errors.ts'
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import { type EventId, type ServerName, serverOfUser } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { levelFor, powerLevelsOf, userLevel } from '../../spec/room/power-levels.ts'
import type { Database } from '../database/database.ts'
import type { Snapshots } from '../state/state.ts'
import type { LogEntry, LogWrite, Verdict } from '../stream/log.ts'
import type { Numbers } from './numbers.ts'
import {
  currentStateRow,
  type Effects,
  eventEntry,
  eventRow,
  type MembershipRow,
} from './persist.ts'
import { waitingFor } from './queries.ts'
import type { Resolver } from './resolution.ts'
import type { StateChange, StatePayload } from './room-views.ts'
import type { EventStore } from './store.ts'
import type { StateRoot, StoredEvent } from './stored-event.ts'
import {
  knownCreate,
  type TurnRoom,
  type Turns,
  turnEvent,
  turnEvents,
  turnState,
} from './turns.ts'

/** State before an event; `isLinear` when it is the room's current state. */
export interface Before {
  readonly root: StateRoot
  /** Rows of nodes that computing it made. */
  readonly rows: readonly JsonObject[]
  readonly isLinear: boolean
}

/** How an event goes in. */
export interface Terms {
  readonly before: Before
  /** The same event as an outlier, where it was stored before: it keeps its number. */
  readonly known?: StoredEvent | undefined
  readonly rejected?: string | undefined
  readonly softFailed?: boolean
  readonly txn?: StoredEvent['txn']
  readonly once?: LogWrite['once']
  readonly onBehalfOf?: ServerName | undefined
  /** Redactions that arrived before this event, with their verdict. */
  readonly redactedBy?: EventId | undefined
}

export interface Accepted {
  readonly event: StoredEvent
  readonly verdict: Promise<Verdict>
}

export interface Acceptor {
  /** State before an event from the events it points at, which must be stored; `given` stands for those that are not. */
  before(turn: TurnRoom, pdu: Pdu, given?: StateRoot): Promise<Before>
  accept(turn: TurnRoom, pdu: Pdu, terms: Terms): Promise<Accepted>
  /** May the sender of a redaction redact its target, by the room's current state. */
  mayRedact(turn: TurnRoom, redaction: Pdu, target: Pdu): Promise<boolean>
}

interface Needs {
  readonly db: Database
  readonly store: EventStore
  readonly snapshots: Snapshots
  readonly resolver: Resolver
  readonly numbers: Numbers
  readonly turns: Turns
  readonly membershipRow: MembershipRow
}

/** Numbers one event may use: its own and the nodes of its paths. */
const numbersPerEvent = 40
/** Forward extremities that a room keeps; the oldest are let go. */
const extremitiesMax = 50

export function createAcceptor(needs: Needs): Acceptor {
  const { db, store, snapshots, resolver, numbers, turns, membershipRow } = needs

  const find = (turn: TurnRoom) => (ids: readonly EventId[]) => turnEvents(turn, store, ids)
  const byNumber = (turn: TurnRoom) => async (nrs: readonly number[]) => {
    const found = new Map<number, StoredEvent>()
    const absent: number[] = []
    for (const nr of nrs) {
      const event = turn.pendingNumbers.get(nr)
      if (event === undefined) absent.push(nr)
      else found.set(nr, event)
    }
    for (const [nr, event] of await store.byNumber(absent)) found.set(nr, event)
    return found
  }

  async function resolveRoots(turn: TurnRoom, roots: readonly StateRoot[]) {
    return await resolver.resolve(turn.room, turn.rules, roots, find(turn), byNumber(turn))
  }

  async function before(turn: TurnRoom, pdu: Pdu, given?: StateRoot): Promise<Before> {
    await numbers.ready(numbersPerEvent)
    if (given === undefined && isSame(pdu.prevEvents, turn.extremities)) {
      return { root: turn.root, rows: [], isLinear: true }
    }
    const prevs = await turnEvents(turn, store, pdu.prevEvents)
    const roots = given === undefined ? [] : [given]
    for (const prev of prevs.values()) {
      if (prev.stateAfter !== undefined) roots.push(prev.stateAfter)
    }
    const isFirst = pdu.type === 'm.room.create'
    if (given === undefined && !isFirst && roots.length < pdu.prevEvents.length) {
      // What it was chained on was lost with the room's memory: whoever brought it tries again.
      throw new MatrixError('M_NOT_FOUND', 'an earlier event is missing')
    }
    return { ...(await resolveRoots(turn, roots)), isLinear: false }
  }

  async function accept(turn: TurnRoom, pdu: Pdu, terms: Terms): Promise<Accepted> {
    await numbers.ready(numbersPerEvent)
    const { known } = terms
    const nr = known?.nr ?? numbers.take()
    const isIn = terms.rejected === undefined && terms.softFailed !== true
    const key = isIn && pdu.stateKey !== undefined ? stateKeyOf(pdu.type, pdu.stateKey) : undefined
    const rows = [...terms.before.rows]
    let after = terms.before.root
    if (pdu.stateKey !== undefined && terms.rejected === undefined) {
      const own = stateKeyOf(pdu.type, pdu.stateKey)
      const changed = await snapshots.update(after, new Map([[own, nr]]))
      after = changed.root
      rows.push(...changed.rows)
    }
    const replacedNr = key === undefined ? undefined : turn.state.get(key)
    const replaced = replacedNr === undefined ? undefined : await turnEvent(turn, store, replacedNr)
    const event: StoredEvent = {
      nr,
      pdu,
      text: pdu.text ?? known?.text ?? JSON.stringify(pdu.json),
      softFailed: terms.softFailed === true,
      stateBefore: terms.before.root,
      stateAfter: after,
      ...(terms.rejected !== undefined && { rejected: terms.rejected }),
      ...(terms.txn && { txn: terms.txn }),
      ...(terms.redactedBy !== undefined && { redactedBy: terms.redactedBy }),
      ...(replaced && {
        replaces: {
          eventId: replaced.pdu.eventId,
          sender: replaced.pdu.sender,
          content: replaced.pdu.content,
        },
      }),
    }
    if (!isIn) return refuse(turn, event, rows)

    const changes = terms.before.isLinear
      ? linear(turn, event, key, after)
      : await forked(turn, event, rows)
    const changesState = key !== undefined && changes.some(([, to]) => to === nr)
    const effects: Effects = {
      changesState,
      replaces: replacedNr,
      redaction: await redactionOf(turn, pdu),
      onBehalfOf: terms.onBehalfOf,
    }
    const entries: LogEntry[] = [eventEntry(event, effects, membershipRow)]
    const others = changes.filter(([, to]) => to !== nr)
    if (others.length > 0) entries.push(await stateEntry(turn, others))
    const tables: Record<string, readonly JsonObject[]> = { room_heads: [headRow(turn)] }
    if (rows.length > 0) tables['state_nodes'] = rows
    if (terms.redactedBy !== undefined) {
      const row = {
        redacts: pdu.eventId,
        event_id: terms.redactedBy,
        room_id: turn.room,
        valid: true,
      }
      tables['redactions'] = [row]
    }
    const edges = terms.before.isLinear ? [] : await edgeRows(turn, event)
    if (edges.length > 0) tables['missing_edges'] = edges
    const verdict = turns.commit(
      turn,
      { entries, tables, ...(terms.once && { once: terms.once }) },
      event,
    )
    return { event, verdict }
  }

  /** Stores an event that does not count: rejected, or soft-failed. */
  function refuse(turn: TurnRoom, event: StoredEvent, rows: readonly JsonObject[]): Accepted {
    const tables: Record<string, readonly JsonObject[]> = { events: [eventRow(event)] }
    if (rows.length > 0) tables['state_nodes'] = rows
    const verdict = turns.commit(turn, { entries: [], tables }, event)
    void verdict.then((outcome) => outcome.kind === 'done' && store.put(event))
    return { event, verdict }
  }

  function linear(
    turn: TurnRoom,
    event: StoredEvent,
    key: StateKey | undefined,
    after: StateRoot,
  ): StateChange[] {
    turn.extremities = [event.pdu.eventId]
    turn.depth = Math.max(turn.depth, event.pdu.depth)
    turn.root = after
    if (key === undefined) return []
    turn.state.set(key, event.nr)
    return [[key, event.nr]]
  }

  /** An event beside the newest ones: the current state is what all branches resolve to. */
  async function forked(
    turn: TurnRoom,
    event: StoredEvent,
    rows: JsonObject[],
  ): Promise<StateChange[]> {
    const { eventId, prevEvents, depth } = event.pdu
    const hasSuccessors = (await waitingFor(db, [eventId])).size > 0
    const kept = turn.extremities.filter((id) => !prevEvents.includes(id))
    const extremities = hasSuccessors ? kept : [...kept, eventId].slice(-extremitiesMax)
    const tips = await turnEvents(turn, store, extremities)
    tips.set(eventId, event)
    const roots: StateRoot[] = []
    for (const id of extremities) {
      const root = tips.get(id)?.stateAfter
      if (root !== undefined) roots.push(root)
    }
    turn.pendingNumbers.set(event.nr, event)
    turn.pending.set(eventId, event)
    const resolved = await resolveRoots(turn, roots.length > 0 ? roots : [turn.root])
    rows.push(...resolved.rows)
    const changes = await differenceOf(turn, turn.root, resolved.root)
    for (const [key, nr] of changes) {
      if (nr === undefined) turn.state.delete(key)
      else turn.state.set(key, nr)
    }
    turn.extremities = extremities
    turn.depth = Math.max(turn.depth, depth)
    turn.root = resolved.root
    return changes
  }

  async function differenceOf(
    turn: TurnRoom,
    from: StateRoot,
    to: StateRoot,
  ): Promise<StateChange[]> {
    const { added, removed } = await snapshots.difference(from, to)
    const changes = new Map<StateKey, number | undefined>()
    const keyOf = async (nr: number) => {
      const event = await turnEvent(turn, store, nr)
      return event?.pdu.stateKey === undefined
        ? undefined
        : stateKeyOf(event.pdu.type, event.pdu.stateKey)
    }
    for (const nr of removed) {
      const key = await keyOf(nr)
      if (key !== undefined) changes.set(key, undefined)
    }
    for (const nr of added) {
      const key = await keyOf(nr)
      if (key !== undefined) changes.set(key, nr)
    }
    return [...changes]
  }

  /** What resolution changed without an event of its own at this position. */
  async function stateEntry(turn: TurnRoom, changes: readonly StateChange[]): Promise<LogEntry> {
    const payload: StatePayload = { changes }
    const members: JsonObject[] = []
    for (const [key, nr] of changes) {
      if (!key.startsWith('m.room.member\u0000') || nr === undefined) continue
      const event = await turnEvent(turn, store, nr)
      if (event !== undefined) members.push(membershipRow(event))
    }
    return {
      kind: 'state',
      room: turn.room,
      ref: JSON.stringify(changes.map(([key, nr]) => [key, nr ?? null])),
      payload,
      tables: {
        current_state: changes.map((change) => currentStateRow(turn.room, change)),
        ...(members.length > 0 && { memberships: members }),
      },
    }
  }

  /** Edges into what is not stored, and the end of edges that waited for this event. */
  async function edgeRows(turn: TurnRoom, event: StoredEvent): Promise<JsonObject[]> {
    const prevs = await turnEvents(turn, store, event.pdu.prevEvents)
    const rows: JsonObject[] = [{ prev_event_id: event.pdu.eventId, room_id: turn.room }]
    for (const id of event.pdu.prevEvents) {
      if (prevs.get(id)?.stateAfter !== undefined) continue
      rows.push({ prev_event_id: id, event_id: event.pdu.eventId, room_id: turn.room })
    }
    return rows
  }

  async function redactionOf(turn: TurnRoom, pdu: Pdu): Promise<Effects['redaction']> {
    if (pdu.type !== 'm.room.redaction' || pdu.redacts === undefined) return undefined
    const target = (await turnEvents(turn, store, [pdu.redacts])).get(pdu.redacts)
    const valid = target && (await mayRedact(turn, pdu, target.pdu))
    return { redacts: pdu.redacts, valid }
  }

  async function mayRedact(turn: TurnRoom, redaction: Pdu, target: Pdu): Promise<boolean> {
    if (target.roomId !== redaction.roomId || target.type === 'm.room.create') return false
    // v3+: a redaction counts when its target is of the same server, or its sender may redact.
    if (serverOfUser(target.sender) === serverOfUser(redaction.sender)) return true
    const key = stateKeyOf('m.room.power_levels', '')
    const powerLevels = (await turnState(turn, store, [key])).get(key)
    const levels = powerLevelsOf(turn.rules, (await createOf(turn, store))?.pdu, powerLevels?.pdu)
    return userLevel(levels, redaction.sender) >= levelFor(levels, 'redact')
  }

  return { before, accept, mayRedact }
}

/** Row of the table `rooms` after an event. */
export function headRow(turn: TurnRoom): JsonObject {
  return {
    room_id: turn.room,
    version: turn.rules.version,
    extremities: turn.extremities,
    depth: turn.depth,
    state_root: turn.root,
  }
}

function isSame(some: readonly EventId[], others: readonly EventId[]): boolean {
  return some.length === others.length && some.every((id) => others.includes(id))
}

/** Keys of a turn's state with the create event's, which room version 12 does not name in auth_events. */
export async function createOf(
  turn: TurnRoom,
  store: EventStore,
): Promise<StoredEvent | undefined> {
  const id = knownCreate(turn)
  if (id !== undefined) return (await turnEvents(turn, store, [id])).get(id)
  const key = stateKeyOf('m.room.create', '')
  return (await turnState(turn, store, [key])).get(key)
}
