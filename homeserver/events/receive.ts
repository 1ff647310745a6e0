/**
 * The receipt of PDUs, step by step as the specification numbers them. What is missing is fetched before the room's
 * turn; the turn decides from what is stored.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu}
 */
import { MatrixError } from '../../spec/errors.ts'
import type { Pdu, StateKey } from '../../spec/events/event.ts'
import { type EventId, isEventId, type RoomId, type ServerName } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { authEventKeys } from '../../spec/room/auth-events.ts'
import type { AuthVerdict } from '../../spec/room/authorize.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Database } from '../database/database.ts'
import type { Logger } from '../platform/log.ts'
import { createPerKeyQueue, QueueFullError } from '../platform/per-key-queue.ts'
import type { Snapshots } from '../state/state.ts'
import { type Accepted, type Acceptor, createOf } from './accept.ts'
import type { Entering } from './entering.ts'
import type { Events, Receipt } from './events.ts'
import type { Gaps } from './gaps.ts'
import { judge, membersAmong, refusalByOwn } from './judge.ts'
import type { Policy } from './policy.ts'
import { pendingRedactions } from './queries.ts'
import type { RoomViews } from './room-views.ts'
import type { EventStore } from './store.ts'
import type { StateRoot, StoredEvent } from './stored-event.ts'
import { type TurnRoom, type Turns, turnEvents, turnState } from './turns.ts'
import type { Verifier } from './verify.ts'

interface Needs {
  readonly db: Database
  readonly log: Logger
  readonly store: EventStore
  readonly views: RoomViews
  readonly turns: Turns
  readonly acceptor: Acceptor
  readonly snapshots: Snapshots
  readonly verifier: Verifier
  readonly gaps: Gaps
  readonly policy: Policy
  readonly entering: Pick<Entering, 'entered' | 'later'>
}

/** Batches of one server that may wait for one room, and tries when the room changed hands. */
const waitingMax = 50
const triesMax = 8

export interface Receiver {
  readonly receive: Events['receive']
}

type Options = Parameters<Events['receive']>[3]

/** An event that came in, with what came with it. */
interface Arrival {
  readonly origin: ServerName
  readonly pdu: Pdu
  /** The event as it was stored before, without a place in the room: an outlier, or soft-failed. */
  readonly outlier: StoredEvent | undefined
  readonly rules: RoomVersionRules
  readonly options: Options
  /** Redactions that came before their targets, by target. */
  readonly late: ReadonlyMap<EventId, Pdu>
  /** Why the room's policy server does not want it. */
  readonly refusal?: string
  /** It was fetched to fill a gap. */
  readonly isEarlier?: boolean | undefined
}

/** An event on its way through a turn. */
interface Staged {
  readonly receipt: Receipt
  readonly accepted?: Accepted
}

export function createReceiver(needs: Needs): Receiver {
  const { db, log, store, views, turns, acceptor, snapshots, verifier, gaps, policy } = needs
  const queue = createPerKeyQueue({ waitingMax })

  async function receive(
    origin: ServerName,
    room: RoomId,
    pdus: readonly JsonObject[],
    options?: Options,
  ) {
    try {
      return await queue.run(`${room} ${origin}`, () => process(origin, room, pdus, options))
    } catch (error) {
      if (!(error instanceof QueueFullError)) throw error
      throw new MatrixError('M_LIMIT_EXCEEDED', 'too many events of this room are waiting')
    }
  }

  async function process(
    origin: ServerName,
    room: RoomId,
    pdus: readonly JsonObject[],
    options: Options,
  ) {
    const receipts = new Map<EventId, Receipt>()
    const view = await viewHere(room, () => receive(origin, room, pdus, options))
    if (view === undefined) return receipts
    const good = await verified(room, view.rules, pdus, receipts)
    await take({ origin, rules: view.rules, options }, good, receipts)
    return receipts
  }

  /** The room if this server is in it, or will be in a moment; when that takes long, `later` is done then. */
  async function viewHere(room: RoomId, later: () => Promise<unknown>) {
    const view = await views.get(room)
    if (view?.isHere) return view
    const entered = await needs.entering.entered(room)
    if (entered === false) return undefined
    if (entered === 'not yet') needs.entering.later(room, later)
    const viewThen = await views.get(room)
    return viewThen?.isHere ? viewThen : undefined
  }

  /** Takes in what is new, one after the other; the commits are awaited at the end. */
  async function take(
    terms: Pick<Arrival, 'origin' | 'rules' | 'options' | 'isEarlier'>,
    pdus: readonly Pdu[],
    receipts: Map<EventId, Receipt>,
  ): Promise<void> {
    const fresh = await unknown(pdus, receipts)
    const late = await redactedAlready(fresh)
    const staged: { arrival: Arrival; first: Staged }[] = []
    for (const { pdu, outlier } of fresh) {
      const arrival = { ...terms, outlier, late, ...(await recommended(pdu, terms.rules)) }
      try {
        const first = await stage(arrival, await prepare(arrival))
        staged.push({ arrival, first })
        if (first.receipt.kind === 'accepted' && pdu.redacts !== undefined)
          late.set(pdu.redacts, pdu)
      } catch (error) {
        receipts.set(pdu.eventId, dropped(error))
        log.info({ room: pdu.roomId, event: pdu.eventId, error }, 'pdu could not be processed')
      }
    }
    for (const { arrival, first } of staged) {
      receipts.set(arrival.pdu.eventId, await settle(arrival, first))
    }
  }

  /** 1–3: format, signatures, hash. */
  async function verified(
    room: RoomId,
    rules: RoomVersionRules,
    pdus: readonly JsonObject[],
    receipts: Map<EventId, Receipt>,
  ): Promise<Pdu[]> {
    const good: Pdu[] = []
    for (const json of pdus) {
      const result = await verifier.verify(json, room, rules)
      if (result.kind === 'good') good.push(result.pdu)
      else if (result.pdu)
        receipts.set(result.pdu.eventId, { kind: 'dropped', reason: result.reason })
    }
    return good
  }

  /** What a policy server says of the event, with its signature if it is to be had. */
  async function recommended(
    pdu: Pdu,
    rules: RoomVersionRules,
  ): Promise<Pick<Arrival, 'pdu' | 'refusal'>> {
    const view = await views.get(pdu.roomId)
    if (view === undefined || !policy.concerns(view.entries, pdu)) return { pdu }
    return await policy.check(pdu, rules)
  }

  /** Leaves out what has been through here before; an outlier, or what was soft-failed, may become a full event. */
  async function unknown(
    pdus: readonly Pdu[],
    receipts: Map<EventId, Receipt>,
  ): Promise<Pick<Arrival, 'pdu' | 'outlier'>[]> {
    const known = await store.get(pdus.map(({ eventId }) => eventId))
    const seen = new Set<EventId>()
    return pdus.flatMap((pdu) => {
      const { eventId } = pdu
      const event = known.get(eventId)
      const isKnown = seen.has(eventId) || (event !== undefined && hasPlace(event))
      seen.add(eventId)
      if (isKnown && !receipts.has(eventId)) {
        const { rejected } = event ?? {}
        receipts.set(
          eventId,
          rejected === undefined ? { kind: 'known' } : { kind: 'rejected', reason: rejected },
        )
      }
      return isKnown ? [] : [{ pdu, outlier: event }]
    })
  }

  /** Redactions that came before their targets, by target. */
  async function redactedAlready(
    arrived: readonly Pick<Arrival, 'pdu'>[],
  ): Promise<Map<EventId, Pdu>> {
    const found = new Map<EventId, Pdu>()
    if (arrived.length === 0) return found
    const ids = arrived.map(({ pdu }) => pdu.eventId)
    const rows = await pendingRedactions(db, ids)
    const redactions = await store.get(rows.map(({ event_id }) => event_id).filter(isEventId))
    for (const { pdu } of redactions.values())
      if (pdu.redacts !== undefined) found.set(pdu.redacts, pdu)
    return found
  }

  /**
   * Gets what the event needs before its turn: the events before it, and its auth events. Answers the states after
   * those right before it that could not be had; only for an event that is itself part of a gap, since a server could
   * otherwise push an event and with it any state it likes.
   */
  async function prepare(arrival: Arrival): Promise<readonly StateRoot[] | undefined> {
    const { origin, pdu, rules } = arrival
    if (arrival.outlier?.stateBefore !== undefined) return undefined
    let states: readonly StateRoot[] | undefined
    if (arrival.isEarlier) {
      states = await gaps.statesAtGap(origin, pdu, rules)
    } else if ((await gaps.missingBefore(pdu)).length > 0) {
      const earlier = await gaps.fetchEarlier(origin, pdu, rules)
      await take({ origin, rules, options: undefined, isEarlier: true }, earlier, new Map())
      if ((await gaps.missingBefore(pdu)).length > 0)
        throw new MatrixError('M_NOT_FOUND', 'earlier events are missing')
    }
    await gaps.fetchAuthEvents(origin, pdu, rules)
    return states
  }

  async function stage(arrival: Arrival, given: readonly StateRoot[] | undefined): Promise<Staged> {
    const { pdu, outlier, options } = arrival
    return await turns.run(pdu.roomId, async (turn) => {
      // What was not stored before the turn can only have come through a turn since. An outlier keeps its number, also
      // when it has dropped out of memory meanwhile.
      const known = turn.pending.get(pdu.eventId) ?? store.peek(pdu.eventId) ?? outlier
      if (known?.stateBefore !== undefined) return await again(turn, arrival, known)
      const before = await acceptor.before(turn, pdu, given)
      const create = await createOf(turn, store)
      const redactedBy = await redactionOf(turn, arrival)
      const terms = { before, known, onBehalfOf: options?.onBehalfOf, redactedBy }

      // 4: passes the auth rules based on its own auth events, otherwise it is rejected.
      const byOwn = await refusedByOwn(turn, pdu, create)
      if (byOwn !== undefined) return await reject(turn, pdu, terms, byOwn)
      // 5: passes the auth rules based on the state before it, otherwise it is rejected.
      const byBefore = await judgeByRoot(turn, pdu, before.root, create)
      if (byBefore.kind === 'reject') return await reject(turn, pdu, terms, byBefore.reason)
      // 6: passes the auth rules based on the current state, otherwise it is soft-failed.
      const byCurrent = before.isLinear ? byBefore : await judgeByCurrent(turn, pdu, create)
      const reason = byCurrent.kind === 'reject' ? byCurrent.reason : arrival.refusal
      if (reason !== undefined) {
        const accepted = await acceptor.accept(turn, pdu, { ...terms, softFailed: true })
        return { receipt: { kind: 'soft-failed', reason }, accepted }
      }
      return { receipt: { kind: 'accepted' }, accepted: await acceptor.accept(turn, pdu, terms) }
    })
  }

  /**
   * An event that has been through a turn. One that was soft-failed has passed all but the current state, which may allow
   * it by now: then it is taken in where the room is now.
   */
  async function again(turn: TurnRoom, arrival: Arrival, seen: StoredEvent): Promise<Staged> {
    const { pdu } = arrival
    if (hasPlace(seen) || turn.pending.has(pdu.eventId)) return { receipt: { kind: 'known' } }
    // Another process may have taken it in, and this one's memory be older than its turn.
    store.forget(seen.nr, pdu.eventId)
    const known = (await store.get([pdu.eventId])).get(pdu.eventId)
    if (known?.stateBefore === undefined || hasPlace(known)) return { receipt: { kind: 'known' } }
    const verdict = await judgeByCurrent(turn, pdu, await createOf(turn, store))
    const reason = verdict.kind === 'reject' ? verdict.reason : arrival.refusal
    if (reason !== undefined) return { receipt: { kind: 'soft-failed', reason } }
    const before = { root: known.stateBefore, rows: [], isLinear: false }
    // As it was stored: what came now may have a signature of the policy server more, or one less.
    const accepted = await acceptor.accept(turn, known.pdu, {
      ...{ before, known, redactedBy: await redactionOf(turn, arrival) },
      onBehalfOf: arrival.options?.onBehalfOf,
    })
    return { receipt: { kind: 'accepted' }, accepted }
  }

  /** The redaction that came before the event, if its sender may redact it. */
  async function redactionOf(turn: TurnRoom, { pdu, late }: Arrival): Promise<EventId | undefined> {
    const redaction = late.get(pdu.eventId)
    const isRedacted = redaction !== undefined && (await acceptor.mayRedact(turn, redaction, pdu))
    return isRedacted ? redaction.eventId : undefined
  }

  async function reject(
    turn: TurnRoom,
    pdu: Pdu,
    terms: Parameters<Acceptor['accept']>[2],
    reason: string,
  ): Promise<Staged> {
    const accepted = await acceptor.accept(turn, pdu, { ...terms, rejected: reason })
    return { receipt: { kind: 'rejected', reason }, accepted }
  }

  /**
   * Waits for the commit. An event whose room changed hands meanwhile goes through its turn again, and what it was
   * chained on is looked for again.
   */
  async function settle(arrival: Arrival, first: Staged): Promise<Receipt> {
    const { pdu } = arrival
    let staged = first
    try {
      for (let tries = 0; tries < triesMax; tries++) {
        if (staged.accepted === undefined) return staged.receipt
        const verdict = await staged.accepted.verdict
        if (verdict.kind === 'done' || verdict.kind === 'duplicate') return staged.receipt
        if (verdict.kind === 'refused')
          return { kind: 'dropped', reason: 'the event could not be stored' }
        staged = await stage(arrival, await prepare(arrival))
      }
    } catch (error) {
      log.info({ room: pdu.roomId, event: pdu.eventId, error }, 'pdu could not be processed')
      return dropped(error)
    }
    return { kind: 'dropped', reason: 'the room is busy' }
  }

  async function refusedByOwn(
    turn: TurnRoom,
    pdu: Pdu,
    create: StoredEvent | undefined,
  ): Promise<string | undefined> {
    const found = await turnEvents(turn, store, pdu.authEvents)
    // It may come another time; a rejection would be for good.
    if (pdu.authEvents.some((id) => !found.has(id)))
      throw new MatrixError('M_NOT_FOUND', 'auth events are missing')
    return refusalByOwn(pdu, turn.rules, found, create)
  }

  async function judgeByRoot(
    turn: TurnRoom,
    pdu: Pdu,
    root: StateRoot,
    create: StoredEvent | undefined,
  ): Promise<AuthVerdict> {
    if (root === turn.root) return await judgeByCurrent(turn, pdu, create)
    const state = await claimedMembers(turn, pdu)
    for (const key of authEventKeys(pdu, turn.rules)) {
      const nr = await snapshots.lookup(root, key)
      const event =
        nr === undefined
          ? undefined
          : (turn.pendingNumbers.get(nr) ?? (await store.byNumber([nr])).get(nr))
      if (event !== undefined) state.set(key, event.pdu)
    }
    return judge(pdu, turn.rules, state, create)
  }

  async function judgeByCurrent(
    turn: TurnRoom,
    pdu: Pdu,
    create: StoredEvent | undefined,
  ): Promise<AuthVerdict> {
    const state = await turnState(turn, store, authEventKeys(pdu, turn.rules))
    const known = await claimedMembers(turn, pdu)
    for (const [key, event] of state) known.set(key, event.pdu)
    return judge(pdu, turn.rules, known, create)
  }

  /** In a room whose members are not all known, an event is believed in what it says of those who are not. */
  async function claimedMembers(turn: TurnRoom, pdu: Pdu): Promise<Map<StateKey, Pdu>> {
    return turn.isPartial
      ? membersAmong((await turnEvents(turn, store, pdu.authEvents)).values())
      : new Map<StateKey, Pdu>()
  }

  return { receive }
}

/** It went through a turn, and that for good: it is not merely an outlier, nor soft-failed. */
function hasPlace({ stateBefore, softFailed }: StoredEvent): boolean {
  return stateBefore !== undefined && !softFailed
}

function dropped(error: unknown): Receipt {
  const reason = error instanceof MatrixError ? error.message : 'the event could not be processed'
  return { kind: 'dropped', reason }
}
