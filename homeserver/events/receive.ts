/**
 * The receipt of PDUs, step by step as the specification numbers them. What is missing is fetched before the room's
 * turn; the turn decides from what is stored.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu}
 */
import { MatrixError } from '../../spec/errors.ts'
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import { type EventId, isEventId, type RoomId, type ServerName } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { authEventKeys } from '../../spec/room/auth-events.ts'
import { type AuthVerdict, checkAuthEvents } from '../../spec/room/authorize.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Database } from '../database/database.ts'
import type { Logger } from '../platform/log.ts'
import { createPerKeyQueue, QueueFullError } from '../platform/per-key-queue.ts'
import type { Snapshots } from '../state/state.ts'
import { type Accepted, type Acceptor, createOf } from './accept.ts'
import type { Events, Receipt } from './events.ts'
import type { Gaps } from './gaps.ts'
import { judge } from './judge.ts'
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
}

/** Batches of one server that may wait for one room, and tries when the room changed hands. */
const waitingMax = 50
const triesMax = 8

export interface Receiver {
  readonly receive: Events['receive']
}

type Options = Parameters<Events['receive']>[3]

/** An event on its way through a turn. */
interface Staged {
  readonly receipt: Receipt
  readonly accepted?: Accepted
}

export function createReceiver(needs: Needs): Receiver {
  const { db, log, store, views, turns, acceptor, snapshots, verifier, gaps } = needs
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
    const view = await views.get(room)
    if (view === undefined || !view.isHere) return receipts
    const good = await verified(room, view.rules, pdus, receipts)
    const fresh = await unknown(good, receipts)
    const late = await redactedAlready(fresh)
    const staged: { pdu: Pdu; first: Staged }[] = []
    for (const pdu of fresh) {
      try {
        const given = await fetchMissing(origin, pdu, view.rules)
        staged.push({ pdu, first: await stage(pdu, given, options, late) })
      } catch (error) {
        receipts.set(pdu.eventId, dropped(error))
        log.info({ room, event: pdu.eventId, error }, 'pdu could not be processed')
      }
    }
    for (const { pdu, first } of staged) {
      receipts.set(pdu.eventId, await settle(origin, pdu, view.rules, first, options, late))
    }
    return receipts
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

  /** Leaves out what has been through here before; an outlier may become a full event. */
  async function unknown(pdus: readonly Pdu[], receipts: Map<EventId, Receipt>): Promise<Pdu[]> {
    const known = await store.get(pdus.map(({ eventId }) => eventId))
    const seen = new Set<EventId>()
    return pdus.filter(({ eventId }) => {
      const event = known.get(eventId)
      const isKnown = seen.has(eventId) || (event !== undefined && event.stateBefore !== undefined)
      seen.add(eventId)
      if (isKnown && !receipts.has(eventId)) {
        const { rejected } = event ?? {}
        receipts.set(
          eventId,
          rejected === undefined ? { kind: 'known' } : { kind: 'rejected', reason: rejected },
        )
      }
      return !isKnown
    })
  }

  /** Redactions that came before their targets, by target. */
  async function redactedAlready(pdus: readonly Pdu[]): Promise<ReadonlyMap<EventId, Pdu>> {
    const found = new Map<EventId, Pdu>()
    if (pdus.length === 0) return found
    const targets = new Map(
      (
        await pendingRedactions(
          db,
          pdus.map(({ eventId }) => eventId),
        )
      ).map((row) => [row.event_id, row.redacts]),
    )
    const redactions = await store.get([...targets.keys()].filter(isEventId))
    for (const { pdu } of redactions.values())
      if (pdu.redacts !== undefined) found.set(pdu.redacts, pdu)
    return found
  }

  /** State before the event where its history is missing here; fetched, never in a turn. */
  async function fetchMissing(
    origin: ServerName,
    pdu: Pdu,
    rules: RoomVersionRules,
  ): Promise<StateRoot | undefined> {
    await gaps.fetchAuthEvents(origin, pdu, rules)
    return await gaps.fetchPrevEvents(origin, pdu, rules, async (older) => {
      const receipts = new Map<EventId, Receipt>()
      const fresh = await unknown(older, receipts)
      for (const event of fresh) {
        await gaps.fetchAuthEvents(origin, event, rules)
        const given = await gaps.stateForGap(origin, event, rules)
        const staged = await stage(event, given, undefined, new Map())
        await settle(origin, event, rules, staged, undefined, new Map())
      }
    })
  }

  async function stage(
    pdu: Pdu,
    given: StateRoot | undefined,
    options: Options,
    late: ReadonlyMap<EventId, Pdu>,
  ): Promise<Staged> {
    return await turns.run(pdu.roomId, async (turn) => {
      // What was not stored before the turn can only have come through a turn since.
      const known = turn.pending.get(pdu.eventId) ?? store.peek(pdu.eventId)
      if (known?.stateBefore !== undefined) return { receipt: { kind: 'known' } }
      const before = await acceptor.before(turn, pdu, given)
      const create = await createOf(turn, store)
      const redaction = late.get(pdu.eventId)
      const isRedacted = redaction !== undefined && (await acceptor.mayRedact(turn, redaction, pdu))
      const terms = {
        before,
        known,
        onBehalfOf: options?.onBehalfOf,
        redactedBy: isRedacted ? redaction.eventId : undefined,
      }

      // 4: passes the auth rules based on its own auth events, otherwise it is rejected.
      const byOwn = await judgeByOwn(turn, pdu, create)
      if (byOwn.kind === 'reject') return await reject(turn, pdu, terms, byOwn.reason)
      // 5: passes the auth rules based on the state before it, otherwise it is rejected.
      const byBefore = await judgeByRoot(turn, pdu, before.root, create)
      if (byBefore.kind === 'reject') return await reject(turn, pdu, terms, byBefore.reason)
      // 6: passes the auth rules based on the current state, otherwise it is soft-failed.
      const byCurrent = before.isLinear ? byBefore : await judgeByCurrent(turn, pdu, create)
      if (byCurrent.kind === 'reject') {
        const accepted = await acceptor.accept(turn, pdu, { ...terms, softFailed: true })
        return { receipt: { kind: 'soft-failed', reason: byCurrent.reason }, accepted }
      }
      return { receipt: { kind: 'accepted' }, accepted: await acceptor.accept(turn, pdu, terms) }
    })
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
  async function settle(
    origin: ServerName,
    pdu: Pdu,
    rules: RoomVersionRules,
    first: Staged,
    options: Options,
    late: ReadonlyMap<EventId, Pdu>,
  ): Promise<Receipt> {
    let staged = first
    try {
      for (let tries = 0; tries < triesMax; tries++) {
        if (staged.accepted === undefined) return staged.receipt
        const verdict = await staged.accepted.verdict
        if (verdict.kind === 'done' || verdict.kind === 'duplicate') return staged.receipt
        if (verdict.kind === 'refused')
          return { kind: 'dropped', reason: 'the event could not be stored' }
        const given = await fetchMissing(origin, pdu, rules)
        staged = await stage(pdu, given, options, late)
      }
    } catch (error) {
      log.info({ room: pdu.roomId, event: pdu.eventId, error }, 'pdu could not be processed')
      return dropped(error)
    }
    return { kind: 'dropped', reason: 'the room is busy' }
  }

  async function judgeByOwn(
    turn: TurnRoom,
    pdu: Pdu,
    create: StoredEvent | undefined,
  ): Promise<AuthVerdict> {
    const found = await turnEvents(turn, store, pdu.authEvents)
    const own: Pdu[] = []
    for (const id of pdu.authEvents) {
      const event = found.get(id)
      if (event === undefined) return { kind: 'reject', reason: `the auth event ${id} is missing` }
      own.push(event.pdu)
    }
    const listed = checkAuthEvents(
      pdu,
      turn.rules,
      own,
      (id) => found.get(id)?.rejected !== undefined,
    )
    if (listed.kind === 'reject') return listed
    const byKey = new Map(own.map((event) => [stateKeyOf(event.type, event.stateKey ?? ''), event]))
    return judge(pdu, turn.rules, byKey, create)
  }

  async function judgeByRoot(
    turn: TurnRoom,
    pdu: Pdu,
    root: StateRoot,
    create: StoredEvent | undefined,
  ): Promise<AuthVerdict> {
    if (root === turn.root) return await judgeByCurrent(turn, pdu, create)
    const state = new Map<StateKey, Pdu>()
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
    return judge(
      pdu,
      turn.rules,
      new Map([...state].map(([key, event]) => [key, event.pdu])),
      create,
    )
  }

  return { receive }
}

function dropped(error: unknown): Receipt {
  const reason = error instanceof MatrixError ? error.message : 'the event could not be processed'
  return { kind: 'dropped', reason }
}
