/** Writing by local users: one event, a whole new room, or an event that another server signs first. */

import { LRUCache } from 'lru-cache'
import { referenceHash } from '../../spec/crypto/hash.ts'
import { MatrixError } from '../../spec/errors.ts'
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import {
  isUserId,
  parseEventId,
  parseRoomId,
  type RoomId,
  roomIdOfCreate,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import type { Json, JsonObject } from '../../spec/json.ts'
import { authEventKeys } from '../../spec/room/auth-events.ts'
import { prevEventsMax } from '../../spec/room/event-fields.ts'
import { finishPdu } from '../../spec/room/event-format.ts'
import { type RoomVersionRules, rulesOf } from '../../spec/room/version.ts'
import type { Database } from '../database/database.ts'
import { atMost } from '../platform/cache.ts'
import type { Snapshots } from '../state/state.ts'
import type { LogEntry, LogWriter, Verdict } from '../stream/log.ts'
import { firstAnswer } from '../stream/settled.ts'
import { type Acceptor, headRow, type Terms } from './accept.ts'
import { type BuildNeeds, buildEvent, draftJson, requireAuthorised } from './build.ts'
import type { Events, LocalDraft, LocalTxn, TurnPlan, TurnView } from './events.ts'
import type { Numbers } from './numbers.ts'
import { eventEntry, type MembershipRow } from './persist.ts'
import type { Policy } from './policy.ts'
import type { EventStore } from './store.ts'
import type { StoredEvent } from './stored-event.ts'
import { busy, newTurn, type TurnRoom, type Turns, turnEvent, turnState } from './turns.ts'

export type LocalEvents = Pick<Events, 'append' | 'createRoom' | 'prepare' | 'commitPrepared'>

interface Needs extends BuildNeeds {
  readonly db: Database
  readonly log: LogWriter
  readonly turns: Turns
  readonly acceptor: Acceptor
  readonly policy: Policy
  readonly snapshots: Snapshots
  readonly numbers: Numbers
  readonly membershipRow: MembershipRow
}

/** How often an event is rebuilt when its room was changed under it. */
const triesMax = 8
/** Requests by transaction that are remembered to answer a repeat at once; the database remembers the others. */
const txnsMax = 20_000
const roomIdLength = 18
/** The idempotency keys of clients' transactions. */
const txnScope = 'txn'

export function createLocalEvents(needs: Needs): LocalEvents {
  const { db, store, turns, acceptor, policy } = needs
  const txns = new LRUCache<string, Promise<StoredEvent>>({ ...atMost(txnsMax) })

  /** What was done once stays the answer, also when the room's rules would refuse it by now. */
  async function appendOnce(
    room: RoomId,
    plan: (view: TurnView) => Promise<TurnPlan> | TurnPlan,
    txn: LocalTxn,
  ): Promise<StoredEvent> {
    try {
      return await append(room, plan, txn)
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error
      const answer = await firstAnswer(db, { scope: txnScope, key: txnKey(txn) })
      if (answer === undefined) throw error
      return await first(answer)
    }
  }

  async function append(
    room: RoomId,
    plan: (view: TurnView) => Promise<TurnPlan> | TurnPlan,
    txn?: LocalTxn,
  ): Promise<StoredEvent> {
    for (let tries = 0; tries < triesMax; tries++) {
      const staged = await turns.run(room, async (turn) => {
        const planned = await plan(viewOf(turn, store))
        if (planned.kind === 'stay')
          return { event: planned.event, verdict: turn.inFlight.size > 0 ? last(turn) : done }
        const { draft } = planned
        const pdu = await buildEvent(needs, turn, draft)
        if (policy.concerns(turn.state, pdu)) return { toSign: pdu, rules: turn.rules }
        // An event can have only so many before it.
        const isLinear = turn.extremities.length <= prevEventsMax
        return await acceptor.accept(turn, pdu, {
          before: isLinear
            ? { root: turn.root, rows: [], isLinear }
            : await acceptor.before(turn, pdu),
          ...termsOf(pdu, txn),
        })
      })
      // The policy server is asked outside of the turn; its answer comes back in another one.
      if ('toSign' in staged) {
        return await commit(await policy.sign(staged.toSign, staged.rules), txn)
      }
      const verdict = await staged.verdict
      switch (verdict.kind) {
        case 'done':
          return staged.event
        case 'duplicate':
          return await first(verdict.answer)
        case 'refused':
          throw new MatrixError('M_UNKNOWN', 'the event could not be stored')
        case 'fenced':
        case 'chained':
          break
        default:
          verdict satisfies never
      }
    }
    throw busy()
  }

  /** Stores an event of ours that was built in an earlier turn: the room may have gone on since. */
  async function commit(pdu: Pdu, txn?: LocalTxn): Promise<StoredEvent> {
    for (let tries = 0; tries < triesMax; tries++) {
      const staged = await turns.run(pdu.roomId, async (turn) => {
        const auth = await turnState(turn, store, authEventKeys(pdu, turn.rules))
        const create = await turnState(turn, store, [stateKeyOf('m.room.create', '')])
        requireAuthorised(pdu, turn.rules, auth, [...create.values()][0])
        const before = await acceptor.before(turn, pdu)
        return await acceptor.accept(turn, pdu, { before, ...termsOf(pdu, txn) })
      })
      const verdict = await staged.verdict
      if (verdict.kind === 'done') return staged.event
      if (verdict.kind === 'duplicate') return await first(verdict.answer)
      if (verdict.kind === 'refused')
        throw new MatrixError('M_UNKNOWN', 'the event could not be stored')
    }
    throw busy()
  }

  /** The event that the first request with this transaction made. */
  async function first(answer: string): Promise<StoredEvent> {
    for (const event of (await store.get([parseEventId(answer)])).values()) return event
    throw new MatrixError('M_UNKNOWN', 'the first answer to this transaction is gone')
  }

  return {
    append(room, plan, txn) {
      if (txn === undefined) return append(room, plan)
      const key = txnKey(txn)
      const known = txns.get(key)
      if (known !== undefined) return known
      const result = appendOnce(room, plan, txn)
      txns.set(key, result)
      // A request that failed may be tried again.
      result.catch(() => txns.delete(key))
      return result
    },
    createRoom: (create, drafts) => createRoom(needs, create, drafts),
    async prepare(room, plan) {
      const prepared = await turns.run(room, async (turn) => {
        const planned = await plan(viewOf(turn, store))
        if (planned.kind === 'stay') return { pdu: planned.event.pdu }
        const pdu = await buildEvent(needs, turn, planned.draft)
        // What another server's user sends is theirs to have signed.
        const isOurs = serverOfUser(pdu.sender) === needs.serverName
        return isOurs && policy.concerns(turn.state, pdu) ? { pdu, rules: turn.rules } : { pdu }
      })
      const { pdu, rules } = prepared
      return rules === undefined ? pdu : await policy.sign(pdu, rules)
    },
    commitPrepared: (pdu) => commit(pdu),
  }
}

/** What of a client's transaction goes into the write of its event. */
function termsOf(pdu: Pdu, txn: LocalTxn | undefined): Pick<Terms, 'txn' | 'once'> {
  if (txn === undefined) return {}
  return {
    txn: { device: txn.device, id: txn.txnId },
    once: { scope: txnScope, key: txnKey(txn), answer: pdu.eventId },
  }
}

function txnKey(txn: LocalTxn): string {
  return `${txn.user} ${txn.device} ${txn.endpoint} ${txn.txnId}`
}

const done: Promise<Verdict> = Promise.resolve({ kind: 'done', positions: [] })

/** What is on its way must be durable before it is answered. */
async function last(turn: TurnRoom): Promise<Verdict> {
  let verdict: Verdict = { kind: 'done', positions: [] }
  for (const flying of [...turn.inFlight]) {
    verdict = await flying
    if (verdict.kind !== 'done') return { kind: 'chained' }
  }
  return verdict
}

function viewOf(turn: TurnRoom, store: EventStore): TurnView {
  return {
    room: turn.room,
    rules: turn.rules,
    async state(type, key) {
      const nr = turn.state.get(stateKeyOf(type, key))
      return nr === undefined ? undefined : await turnEvent(turn, store, nr)
    },
    members() {
      const prefix = 'm.room.member\u0000'
      const found: UserId[] = []
      for (const key of turn.state.keys()) {
        const user = key.startsWith(prefix) ? key.slice(prefix.length) : undefined
        if (isUserId(user)) found.push(user)
      }
      return found
    },
  }
}

/** All first events of a room in one write: the room is there whole or not at all. */
async function createRoom(
  needs: Needs,
  create: Parameters<Events['createRoom']>[0],
  drafts: (room: RoomId) => readonly LocalDraft[],
): Promise<{ room: RoomId; events: readonly StoredEvent[] }> {
  const rules = rulesOf(create.version)
  if (rules === undefined)
    throw new MatrixError('M_UNSUPPORTED_ROOM_VERSION', 'unknown room version')
  const draft: LocalDraft = {
    type: 'm.room.create',
    stateKey: '',
    sender: create.sender,
    content: create.content,
  }
  const madeId = rules.createHashRoomId ? undefined : (create.room ?? newRoomId(needs))
  const place = { room: madeId, rules, depth: 1, prevs: [], auth: [] }
  const first = finishPdu(draftJson(needs, draft, place), rules, needs.serverName, needs.key)
  const room = madeId ?? roomIdOfCreate(first.eventId)
  const making = new Making(needs, room, rules)
  await making.add(first)
  for (const next of drafts(room)) await making.add(making.build(next))
  return { room, events: await making.commit() }
}

function newRoomId({
  random,
  serverName,
}: {
  random: Needs['random']
  serverName: ServerName
}): RoomId {
  return parseRoomId(`!${random.text(roomIdLength)}:${serverName}`)
}

/** A room that is being made: its events are chained in memory and written together. */
class Making {
  readonly #needs: Needs
  readonly #turn: TurnRoom
  readonly #byKey = new Map<StateKey, StoredEvent>()
  readonly #events: StoredEvent[] = []
  readonly #entries: LogEntry[] = []
  readonly #nodes: JsonObject[] = []

  constructor(needs: Needs, room: RoomId, rules: RoomVersionRules) {
    this.#needs = needs
    this.#turn = newTurn(room, rules, 0, { state: new Map(), root: 0, extremities: [], depth: 0 })
  }

  build(draft: LocalDraft): Pdu {
    const { rules, room, depth } = this.#turn
    const auth = new Map<StateKey, StoredEvent>()
    for (const key of authEventKeys(draft, rules)) {
      const event = this.#byKey.get(key)
      if (event !== undefined) auth.set(key, event)
    }
    const previous = this.#events.at(-1)
    const place = {
      room,
      rules,
      depth: depth + 1,
      prevs: previous ? [edgeTo(previous.pdu, rules)] : [],
      auth: [...auth.values()].map(({ pdu }) => edgeTo(pdu, rules)),
    }
    const json = draftJson(this.#needs, draft, place)
    const pdu = finishPdu(json, rules, this.#needs.serverName, this.#needs.key)
    requireAuthorised(pdu, rules, auth, this.#events[0])
    return pdu
  }

  async add(pdu: Pdu): Promise<void> {
    const { numbers, snapshots, store, membershipRow } = this.#needs
    await numbers.ready(40)
    const nr = numbers.take()
    store.expect(nr, pdu)
    const turn = this.#turn
    const key = pdu.stateKey === undefined ? undefined : stateKeyOf(pdu.type, pdu.stateKey)
    const before = turn.root
    const after =
      key === undefined ? undefined : await snapshots.update(before, new Map([[key, nr]]))
    if (after !== undefined) this.#nodes.push(...after.rows)
    const replaced = key === undefined ? undefined : this.#byKey.get(key)
    const event: StoredEvent = {
      nr,
      pdu,
      text: pdu.text ?? JSON.stringify(pdu.json),
      softFailed: false,
      stateBefore: before,
      stateAfter: after?.root ?? before,
      ...(replaced && {
        replaces: {
          eventId: replaced.pdu.eventId,
          sender: replaced.pdu.sender,
          content: replaced.pdu.content,
        },
      }),
    }
    if (key !== undefined) {
      this.#byKey.set(key, event)
      turn.state.set(key, nr)
    }
    turn.root = after?.root ?? before
    turn.extremities = [pdu.eventId]
    turn.depth = pdu.depth
    this.#events.push(event)
    const effects = { changesState: key !== undefined, replaces: replaced?.nr }
    this.#entries.push(eventEntry(event, effects, membershipRow))
  }

  async commit(): Promise<readonly StoredEvent[]> {
    const { log, turns } = this.#needs
    const { room } = this.#turn
    const verdict = await log.write({
      claim: { room },
      entries: this.#entries,
      tables: { room_heads: [headRow(this.#turn)], state_nodes: this.#nodes },
    })
    if (verdict.kind !== 'done') throw busy()
    const { rules, state, root, extremities, depth } = this.#turn
    turns.adopt(newTurn(room, rules, verdict.fence ?? 0, { state, root, extremities, depth }))
    return this.#events
  }
}

function edgeTo(pdu: Pdu, rules: RoomVersionRules): Json {
  if (rules.eventFormat === 'list') return pdu.eventId
  return [pdu.eventId, { sha256: referenceHash(pdu.json, rules) }]
}
