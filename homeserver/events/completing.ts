/**
 * Completes rooms that came without members: asks their servers for the state before our join, gives the events that
 * came since their states anew, judges them again, and says in one write that all of it is here. What is to be done
 * stands in the table; the process that owns a room does it, after a restart from the beginning.
 */
import { type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import { isUserId, type RoomId, type ServerName, serverOfUser } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Snapshots } from '../state/state.ts'
import type { LogEntry } from '../stream/log.ts'
import type { RunningProcesses } from '../stream/processes.ts'
import { headRow } from './accept.ts'
import type { Gaps } from './gaps.ts'
import type { Numbers } from './numbers.ts'
import { stateKeysByNumber } from './partial-queries.ts'
import { type PartialRoom, type PartialRooms, partialEntry } from './partial-rooms.ts'
import { PartialStates } from './partial-states.ts'
import { currentStateRow, eventEntry, type MembershipRow, splitKey } from './persist.ts'
import { applyOutsideLog } from './queries.ts'
import type { Resolver } from './resolution.ts'
import type { RoomViews, StatePayload } from './room-views.ts'
import type { EventStore } from './store.ts'
import type { StateRoot, StoredEvent } from './stored-event.ts'
import { busy, type TurnRoom, type Turns } from './turns.ts'

export interface Completion extends AsyncDisposable {
  /** Takes up what is not done; called once, when the log's tail has started. */
  start(): void
}

interface Needs {
  readonly serverName: ServerName
  readonly db: Database
  readonly log: Logger
  readonly clock: Clock
  readonly store: EventStore
  readonly snapshots: Snapshots
  readonly resolver: Resolver
  readonly numbers: Numbers
  readonly views: RoomViews
  readonly turns: Turns
  readonly gaps: Gaps
  readonly partial: PartialRooms
  readonly membershipRow: MembershipRow
  readonly serversIn: (room: RoomId) => Promise<ReadonlySet<ServerName>>
  readonly processes?: Pick<RunningProcesses, 'ownerOf' | 'onChange'> | undefined
}

/** Servers asked in one go, pauses before the next, and rows of one statement. */
const serversMax = 10
const pauseMinMs = 1_000
const pauseMaxMs = 300_000
const chunkRows = 1_000

export function createCompletion(needs: Needs): Completion {
  const { serverName, db, log, clock, store, snapshots, views, turns, partial } = needs
  const running = new Map<RoomId, Promise<void>>()
  const stop = new AbortController()
  let isStarted = false

  function run(room: RoomId): void {
    if (!isStarted || stop.signal.aborted || running.has(room) || !isOurs(room)) return
    const work = untilComplete(room)
      .catch((error: unknown) => log.error({ room, error }, 'a room could not be completed'))
      .finally(() => running.delete(room))
    running.set(room, work)
  }

  const isOurs = (room: RoomId) => needs.processes?.ownerOf(room) === undefined

  function runAll(): void {
    partial.all().then(
      (rooms) => rooms.forEach(run),
      (error: unknown) => log.warn({ error }, 'incomplete rooms could not be found'),
    )
  }

  async function untilComplete(room: RoomId): Promise<void> {
    for (let tries = 0; !stop.signal.aborted && isOurs(room); tries++) {
      const found = await partial.find(room)
      // Without a user in it nobody would tell us; whoever comes back brings the room anew.
      if (found === undefined || !(await needs.serversIn(room)).has(serverName)) return
      if (await completedBy(found, tries)) return
      const pauseMs = Math.min(pauseMinMs * 2 ** tries, pauseMaxMs)
      await clock.sleep(pauseMs, stop.signal).catch(() => {})
    }
  }

  async function completedBy(found: PartialRoom, tries: number): Promise<boolean> {
    const { room, origin, servers } = found
    const known = new Set([origin, ...servers, ...(await needs.serversIn(room))])
    known.delete(serverName)
    // Those that were asked before may be gone for good: the next ones are asked, and after the last the first again.
    const rounds = Math.max(1, Math.ceil(known.size / serversMax))
    const from = (tries % rounds) * serversMax
    for (const server of [...known].slice(from, from + serversMax)) {
      try {
        await complete(found, server)
        log.info({ room, server }, 'room is complete')
        return true
      } catch (error) {
        if (stop.signal.aborted) return false
        log.info({ room, server, error }, 'room could not be completed by this server')
      }
    }
    return false
  }

  async function complete({ room, joinId }: PartialRoom, server: ServerName): Promise<void> {
    const rules = (await views.get(room))?.rules
    const join = (await store.get([joinId])).get(joinId)
    if (rules === undefined || join === undefined) throw new Error('the join is not here')
    const before: StateRoot[] = []
    for (const id of join.pdu.prevEvents)
      before.push(await needs.gaps.stateAfter(server, room, id, rules))
    for (const root of before) await requireCreate(root)
    const states = new PartialStates(needs, { room, rules, joinId, before })
    await states.proceed()
    if (stop.signal.aborted) return
    await turns.run(room, async (turn) => {
      if (turn.isPartial) await finish(turn, states)
    })
  }

  async function requireCreate(root: StateRoot): Promise<void> {
    const create = await snapshots.lookup(root, stateKeyOf('m.room.create', ''))
    if (create === undefined) throw new Error('the state has no create event')
  }

  /** In the room's turn: what has come meanwhile, the current state, and the switch. */
  async function finish(turn: TurnRoom, states: PartialStates): Promise<void> {
    await Promise.allSettled(turn.inFlight)
    if (turn.broken) throw busy()
    try {
      await states.proceed()
      const { extremities, root, accepted } = await states.settle(turn.extremities)
      const state = await entriesOf(root)
      const entries = await stateEntries(turn, state)
      const isNew = new Set(accepted.map(({ nr }) => nr))
      const changed = [...states.events.values()].filter(({ nr }) => !isNew.has(nr))
      const head = headRow({ ...turn, extremities, root })
      const verdict = await turns.commit(turn, {
        entries: [...accepted.map((event) => entryOf(event, state)), ...entries],
        tables: { room_heads: [head], event_states: changed.map(stateRow) },
      })
      if (verdict.kind !== 'done') throw busy()
    } finally {
      // What is in memory stands on the incomplete state.
      turn.broken = true
    }
  }

  async function entriesOf(root: StateRoot): Promise<Map<StateKey, number>> {
    const nrs = await snapshots.entries(root)
    const state = new Map<StateKey, number>()
    for (let at = 0; at < nrs.length; at += chunkRows)
      for (const row of await stateKeysByNumber(db, nrs.slice(at, at + chunkRows)))
        state.set(stateKeyOf(row.type, row.state_key), row.nr)
    return state
  }

  function entryOf(event: StoredEvent, state: ReadonlyMap<StateKey, number>): LogEntry {
    const { type, stateKey } = event.pdu
    const changesState =
      stateKey !== undefined && state.get(stateKeyOf(type, stateKey)) === event.nr
    return eventEntry(event, { changesState }, needs.membershipRow)
  }

  /** What the current state becomes. Members of other servers are bulk: they are written before, and seen with the rest. */
  async function stateEntries(
    { room, state: old }: TurnRoom,
    state: ReadonlyMap<StateKey, number>,
  ): Promise<LogEntry[]> {
    const current: JsonObject[] = []
    const members: JsonObject[] = []
    const bulk: [StateKey, number][] = []
    const changed: [StateKey, number][] = []
    for (const [key, nr] of state) {
      if (old.get(key) === nr) continue
      const isBulk = !old.has(key) && memberServer(key) !== serverName
      ;(isBulk ? bulk : changed).push([key, nr])
    }
    for (let at = 0; at < bulk.length; at += chunkRows)
      await writeBulk(room, bulk.slice(at, at + chunkRows))
    const events = await store.byNumber(changed.map(([, nr]) => nr))
    for (const [key, nr] of changed) {
      current.push(currentStateRow(room, [key, nr]))
      const event = events.get(nr)
      if (memberServer(key) !== undefined && event) members.push(needs.membershipRow(event))
    }
    for (const key of old.keys()) {
      if (state.has(key)) continue
      current.push(currentStateRow(room, [key, undefined]))
      const [, user] = splitKey(key)
      if (memberServer(key) !== undefined) members.push({ room_id: room, user_id: user })
    }
    const payload: StatePayload = { changes: [], isAll: true }
    const tables = { current_state: current, memberships: members }
    const completed = { partial_rooms: [{ room_id: room }] }
    return [
      { kind: 'state', room, ref: '*', payload, tables },
      { ...partialEntry(room, false), tables: completed },
    ]
  }

  async function writeBulk(room: RoomId, chunk: readonly [StateKey, number][]): Promise<void> {
    const events = await store.byNumber(chunk.map(([, nr]) => nr))
    const members = chunk.flatMap(([key, nr]) => {
      const event = memberServer(key) === undefined ? undefined : events.get(nr)
      return event === undefined ? [] : [{ ...needs.membershipRow(event), i: 0 }]
    })
    const rows = chunk.map((change) => ({ ...currentStateRow(room, change), i: 0 }))
    await applyOutsideLog(db, 'memberships', JSON.stringify(members))
    await applyOutsideLog(db, 'current_state', JSON.stringify(rows))
  }

  partial.onBegun(run)
  const changes = needs.processes?.onChange(runAll)

  return {
    start() {
      isStarted = true
      runAll()
    },
    async [Symbol.asyncDispose]() {
      changes?.[Symbol.dispose]()
      stop.abort()
    },
  }
}

/** The server of the member whose key it is. */
function memberServer(key: StateKey): ServerName | undefined {
  const [type, user] = splitKey(key)
  return type === 'm.room.member' && isUserId(user) ? serverOfUser(user) : undefined
}

/** Row of `event_states`. */
function stateRow(event: StoredEvent): JsonObject {
  const { nr, stateBefore = 0, stateAfter = 0, rejected, softFailed } = event
  return {
    ...{ nr, state_before: stateBefore, state_after: stateAfter, soft_failed: softFailed },
    ...(rejected !== undefined && { rejected }),
  }
}
