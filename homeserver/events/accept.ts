/**
 * The last step of every event, inside its room's turn: state after it, new extremities, new current state, and the
 * one write that makes all of it durable.
 */
import { MatrixError } from '../../spec/errors.ts'
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import type { EventId, ServerName } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import type { Snapshots } from '../state/state.ts'
import type { LogEntry, LogWrite, Verdict } from '../stream/log.ts'
import type { Aftermath } from './aftermath.ts'
import { createBranches } from './branches.ts'
import type { Numbers } from './numbers.ts'
import { type Effects, eventEntry, eventRow, type MembershipRow } from './persist.ts'
import { mayRedact } from './redactions.ts'
import type { Resolver } from './resolution.ts'
import type { StateChange } from './room-views.ts'
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
  /** States that stood for predecessors that are not here. */
  readonly given?: readonly StateRoot[] | undefined
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
  /**
   * State before an event from the events it points at, which must be stored; the states `given` stand for those that
   * are not.
   */
  before(turn: TurnRoom, pdu: Pdu, given?: readonly StateRoot[]): Promise<Before>
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
  readonly aftermath: Aftermath
}

/** Numbers one event may use: its own and the nodes of its paths. */
const numbersPerEvent = 40

export function createAcceptor(needs: Needs): Acceptor {
  const { store, snapshots, resolver, numbers, turns, membershipRow, aftermath } = needs
  const branches = createBranches(needs)

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
    const pending = turn.pendingNumbers.values()
    return await resolver.resolve(turn.room, turn.rules, roots, find(turn), byNumber(turn), pending)
  }

  async function before(turn: TurnRoom, pdu: Pdu, given?: readonly StateRoot[]): Promise<Before> {
    await numbers.ready(numbersPerEvent)
    if (given === undefined && isSame(pdu.prevEvents, turn.extremities)) {
      return { root: turn.root, rows: [], isLinear: true }
    }
    const prevs = await turnEvents(turn, store, pdu.prevEvents)
    const roots = [...(given ?? [])]
    for (const prev of prevs.values()) {
      if (prev.stateAfter !== undefined) roots.push(prev.stateAfter)
    }
    const isFirst = pdu.type === 'm.room.create'
    if (given === undefined && !isFirst && roots.length < pdu.prevEvents.length) {
      // What it was chained on was lost with the room's memory: whoever brought it tries again.
      throw new MatrixError('M_NOT_FOUND', 'an earlier event is missing')
    }
    return { ...(await resolveRoots(turn, roots)), isLinear: false, given }
  }

  async function accept(turn: TurnRoom, pdu: Pdu, terms: Terms): Promise<Accepted> {
    await numbers.ready(numbersPerEvent)
    const { known } = terms
    const nr = known?.nr ?? numbers.take()
    store.expect(nr, pdu)
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
    if (!isIn) return refuse(turn, event, rows, terms.before)

    const changes = terms.before.isLinear
      ? linear(turn, event, key, after)
      : await forked(turn, event, rows, known?.softFailed)
    const changesState = key !== undefined && changes.some(([, to]) => to === nr)
    const edges = terms.before.isLinear ? undefined : await branches.edgesOf(turn, event)
    const effects: Effects = {
      changesState,
      replaces: replacedNr,
      redaction: await redactionOf(turn, pdu),
      onBehalfOf: terms.onBehalfOf,
      isAfterGap: edges?.isAfterGap,
    }
    const entries: LogEntry[] = [eventEntry(event, effects, membershipRow)]
    const others = changes.filter(([, to]) => to !== nr)
    if (others.length > 0) entries.push(await branches.stateEntry(turn, others))
    const tables: Record<string, readonly JsonObject[]> = { room_heads: [headRow(turn)] }
    if (turn.isPartial) tables['partial_events'] = [partialRow(turn, event, terms.before)]
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
    if (edges !== undefined) tables['missing_edges'] = edges.rows
    const jobs = jobsAfter(turn, event, effects)
    if (jobs.length > 0) tables['jobs'] = jobs
    const verdict = turns.commit(
      turn,
      { entries, tables, ...(terms.once && { once: terms.once }) },
      event,
    )
    return { event, verdict }
  }

  function jobsAfter(turn: TurnRoom, event: StoredEvent, effects: Effects): JsonObject[] {
    const { redaction } = effects
    const jobs = [...aftermath.branched(turn.room, turn.extremities.length)]
    if (redaction?.valid) jobs.push(...aftermath.redacted(redaction.redacts))
    if (event.redactedBy !== undefined) jobs.push(...aftermath.redacted(event.pdu.eventId))
    return jobs
  }

  /** Stores an event that does not count: rejected, or soft-failed. */
  function refuse(
    turn: TurnRoom,
    event: StoredEvent,
    rows: readonly JsonObject[],
    before: Before,
  ): Accepted {
    const tables: Record<string, readonly JsonObject[]> = { events: [eventRow(event)] }
    if (turn.isPartial) tables['partial_events'] = [partialRow(turn, event, before)]
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
    wasSoftFailed?: boolean,
  ): Promise<StateChange[]> {
    const { eventId, depth } = event.pdu
    const extremities = await branches.extremitiesWith(turn, event, wasSoftFailed)
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
    const changes = await branches.changesBetween(turn, turn.root, resolved.root)
    for (const [key, nr] of changes) {
      if (nr === undefined) turn.state.delete(key)
      else turn.state.set(key, nr)
    }
    turn.extremities = extremities
    turn.depth = Math.max(turn.depth, depth)
    turn.root = resolved.root
    return changes
  }

  async function redactionOf(turn: TurnRoom, pdu: Pdu): Promise<Effects['redaction']> {
    if (pdu.type !== 'm.room.redaction' || pdu.redacts === undefined) return undefined
    const target = (await turnEvents(turn, store, [pdu.redacts])).get(pdu.redacts)
    const valid = target && (await mayRedactNow(turn, pdu, target.pdu))
    return { redacts: pdu.redacts, valid }
  }

  async function mayRedactNow(turn: TurnRoom, redaction: Pdu, target: Pdu): Promise<boolean> {
    const key = stateKeyOf('m.room.power_levels', '')
    const powerLevels = (await turnState(turn, store, [key])).get(key)?.pdu
    const create = (await createOf(turn, store))?.pdu
    return mayRedact(turn.rules, redaction, target, { create, powerLevels })
  }

  return { before, accept, mayRedact: mayRedactNow }
}

/** Row of the table `partial_events`: the event's place is to be looked at again. */
function partialRow({ room }: TurnRoom, { nr }: StoredEvent, { given }: Before): JsonObject {
  return { room_id: room, nr, ...(given && { given: [...given] }) }
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
