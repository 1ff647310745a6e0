/**
 * A room's turn: the one place where events are added to it. A turn sees everything that was accepted so far, also
 * what is not committed yet; readers elsewhere see only what is. When a write is refused or fenced, the room's memory
 * is thrown away and read again, and what was chained on the write is built anew by its caller.
 */
import { LRUCache } from 'lru-cache'
import { MatrixError } from '../../spec/errors.ts'
import type { StateKey } from '../../spec/events/event.ts'
import { createIdOfRoom, type EventId, isEventId, type RoomId } from '../../spec/ids.ts'
import { type RoomVersionRules, rulesOf } from '../../spec/room/version.ts'
import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import { createPerKeyQueue, QueueFullError } from '../platform/per-key-queue.ts'
import type { Random } from '../platform/random.ts'
import { readCurrentState } from '../state/state.ts'
import type { LogWrite, LogWriter, Verdict } from '../stream/log.ts'
import type { RunningProcesses } from '../stream/processes.ts'
import { findRoom } from './queries.ts'
import type { EventStore } from './store.ts'
import type { StateRoot, StoredEvent } from './stored-event.ts'

/** A room as its turn knows it: the committed part and what is on its way. */
export interface TurnRoom {
  readonly room: RoomId
  readonly rules: RoomVersionRules
  readonly fence: number
  /** Which event holds each key of the current state. */
  state: Map<StateKey, number>
  root: StateRoot
  extremities: readonly EventId[]
  depth: number
  /** The state lacks members: what comes in is noted, and judged again when they are here. */
  readonly isPartial: boolean
  /** Accepted and not yet committed. */
  readonly pending: Map<EventId, StoredEvent>
  readonly pendingNumbers: Map<number, StoredEvent>
  readonly inFlight: Set<Promise<Verdict>>
  /** Writes handed to the log so far. */
  commits: number
  /** How often in a row another process took the room before anything was written. */
  lost: number
  wasFenced: boolean
  broken: boolean
}

export interface Turns {
  /** Runs `work` as the room's only writer. @throws MatrixError M_NOT_FOUND for a room that is not here */
  run<T>(room: RoomId, work: (turn: TurnRoom) => Promise<T>): Promise<T>
  /** As `run`, for a room that may be unknown: `work` is responsible for making it. */
  runUnknown<T>(room: RoomId, work: (known: TurnRoom | undefined) => Promise<T>): Promise<T>
  /** Hands a write to the log, with the event that the turn's later work may build on. */
  commit(turn: TurnRoom, write: Omit<LogWrite, 'fence'>, event?: StoredEvent): Promise<Verdict>
  /** An event on its way in a room: accepted, not yet committed. */
  pending(room: RoomId, id: EventId): StoredEvent | undefined
  /** Forgets what is in memory of a room. */
  forget(room: RoomId): void
  /** Takes a new room, or one that was read. */
  adopt(turn: TurnRoom): void
}

/** Tasks that may wait for one room, and rooms kept in memory (by state entries). */
const waitingMax = 2_000
const entriesMax = 1_000_000
/** How often a turn begins again because the room's memory was out of date. */
const readsMax = 8
/** How long a process that lost a room waits, for each time, before it takes it back: its owner hardly; in ms. */
const ownerPauseMs = 5
const otherPauseMs = 40
const pausesMax = 5

interface Needs {
  readonly db: Database
  readonly log: LogWriter
  readonly store: EventStore
  readonly clock: Clock
  readonly random: Random
  /** The other processes that may write to rooms; none when absent. */
  readonly processes?: Pick<RunningProcesses, 'alone' | 'ownerOf' | 'onChange'> | undefined
}

export function createTurns({ db, log, clock, random, processes }: Needs): Turns {
  const queue = createPerKeyQueue({ waitingMax })
  const rooms = new LRUCache<RoomId, TurnRoom>({
    maxSize: entriesMax,
    sizeCalculation: (turn) => turn.state.size + 16,
    // What is evicted with writes under way must be read again only when they are durable.
    dispose: (turn, room) => {
      if (turn.inFlight.size > 0) leaving.set(room, turn)
    },
  })
  const leaving = new Map<RoomId, TurnRoom>()

  async function open(room: RoomId): Promise<TurnRoom | undefined> {
    const known = rooms.get(room)
    if (known !== undefined && !known.broken) return known
    const old = known ?? leaving.get(room)
    if (old !== undefined) {
      await Promise.allSettled(old.inFlight)
      leaving.delete(room)
      rooms.delete(room)
    }
    const lost = old?.wasFenced === true ? old.lost + 1 : 0
    await pause(room, lost)
    const fence = await claim(room)
    const turn = await read(room, fence)
    if (turn === undefined) return undefined
    turn.lost = lost
    rooms.set(room, turn)
    return turn
  }

  /** Two processes that both want a room would take it from each other without end. */
  async function pause(room: RoomId, lost: number): Promise<void> {
    const times = Math.min(lost, pausesMax)
    const spanMs = isOurs(room) ? ownerPauseMs * (times - 1) : otherPauseMs * times
    if (spanMs <= 0) return
    const [chance = 0] = random.bytes(1)
    await clock.sleep((spanMs * (128 + chance)) / 256)
  }

  async function claim(room: RoomId): Promise<number> {
    const verdict = await log.write({ claim: { room }, entries: [] })
    if (verdict.kind !== 'done' || verdict.fence === undefined) throw busy()
    return verdict.fence
  }

  async function read(room: RoomId, fence: number): Promise<TurnRoom | undefined> {
    const row = await findRoom(db, room)
    const rules = row && rulesOf(row.version)
    if (row === undefined || rules === undefined || row.extremities.length === 0) return undefined
    return newTurn(room, rules, fence, {
      state: await readCurrentState(db, room),
      root: row.state_root,
      extremities: row.extremities.filter(isEventId),
      depth: row.depth,
      isPartial: row.is_partial,
    })
  }

  /**
   * What a turn decides without a write (a refusal, "it is so already") has no fence that checks it: where other
   * processes are about, the fence is asked for by itself, so that nothing is decided from a room's old memory.
   */
  async function decide<T>(room: RoomId, work: (turn: TurnRoom) => Promise<T>): Promise<T> {
    for (let reads = 0; reads < readsMax; reads++) {
      const known = rooms.peek(room)
      const turn = await open(room)
      if (turn === undefined) throw new MatrixError('M_NOT_FOUND', 'Unknown room')
      const { commits } = turn
      const isSure = () => turn !== known || turn.commits !== commits || isCurrent(turn)
      try {
        const result = await guarded(turn, () => work(turn))
        if (await isSure()) return result
      } catch (error) {
        if (!(error instanceof MatrixError) || (await isSure())) throw error
      }
      turn.broken = true
    }
    throw busy()
  }

  async function isCurrent({ room, fence }: TurnRoom): Promise<boolean> {
    if (processes?.alone !== false) return true
    const verdict = await log.write({ fence: { room, value: fence }, entries: [] })
    return verdict.kind === 'done'
  }

  processes?.onChange(() => {
    for (const room of [...rooms.keys()]) if (!isOurs(room)) rooms.delete(room)
  })

  function isOurs(room: RoomId): boolean {
    return processes?.ownerOf(room) === undefined
  }

  async function queued<T>(room: RoomId, work: () => Promise<T>): Promise<T> {
    try {
      return await queue.run(room, work)
    } catch (error) {
      throw error instanceof QueueFullError ? busy() : error
    }
  }

  return {
    run: (room, work) => queued(room, () => decide(room, work)),
    runUnknown: (room, work) =>
      queued(room, async () => {
        const turn = await open(room)
        return turn === undefined ? await work(undefined) : await guarded(turn, () => work(turn))
      }),
    commit(turn, write, event) {
      const { room, fence } = turn
      const verdict = log.write({ ...write, fence: { room, value: fence } })
      if (event !== undefined) {
        turn.pending.set(event.pdu.eventId, event)
        turn.pendingNumbers.set(event.nr, event)
      }
      turn.inFlight.add(verdict)
      turn.commits++
      const settled = (outcome: Verdict | undefined) => {
        turn.inFlight.delete(verdict)
        if (event !== undefined) {
          turn.pending.delete(event.pdu.eventId)
          turn.pendingNumbers.delete(event.nr)
        }
        if (outcome?.kind === 'done') turn.lost = 0
        else turn.broken = true
        if (outcome?.kind === 'fenced') turn.wasFenced = true
      }
      verdict.then(settled, () => settled(undefined))
      return verdict
    },
    pending: (room, id) => rooms.peek(room)?.pending.get(id),
    forget: (room) => void rooms.delete(room),
    adopt(turn) {
      if (isOurs(turn.room)) rooms.set(turn.room, turn)
      else rooms.delete(turn.room)
    },
  }
}

/** What fails half-way may have left the turn's memory ahead of what is stored: it is read again. */
async function guarded<T>(turn: TurnRoom, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof MatrixError)) turn.broken = true
    throw error
  }
}

/** A room as it is in memory, with nothing on its way. */
export function newTurn(
  room: RoomId,
  rules: RoomVersionRules,
  fence: number,
  start: Pick<TurnRoom, 'state' | 'root' | 'extremities' | 'depth'> &
    Partial<Pick<TurnRoom, 'isPartial'>>,
): TurnRoom {
  const { state, root, extremities, depth, isPartial = false } = start
  return {
    room,
    rules,
    fence,
    state,
    root,
    extremities,
    depth,
    isPartial,
    pending: new Map(),
    pendingNumbers: new Map(),
    inFlight: new Set(),
    commits: 0,
    lost: 0,
    wasFenced: false,
    broken: false,
  }
}

/** The event of the turn that a number stands for. */
export async function turnEvent(
  turn: TurnRoom,
  store: EventStore,
  nr: number,
): Promise<StoredEvent | undefined> {
  return turn.pendingNumbers.get(nr) ?? store.peekNumber(nr) ?? (await store.byNumber([nr])).get(nr)
}

/** Events by id, those on their way included. */
export async function turnEvents(
  turn: TurnRoom,
  store: EventStore,
  ids: readonly EventId[],
): Promise<Map<EventId, StoredEvent>> {
  const found = new Map<EventId, StoredEvent>()
  const absent: EventId[] = []
  for (const id of ids) {
    const event = turn.pending.get(id) ?? store.peek(id)
    if (event === undefined) absent.push(id)
    else found.set(id, event)
  }
  if (absent.length > 0) for (const [id, event] of await store.get(absent)) found.set(id, event)
  return found
}

/** Events that hold keys of the turn's current state; v12's create event is found by the room's id. */
export async function turnState(
  turn: TurnRoom,
  store: EventStore,
  keys: readonly StateKey[],
): Promise<Map<StateKey, StoredEvent>> {
  const found = new Map<StateKey, StoredEvent>()
  for (const key of keys) {
    const nr = turn.state.get(key)
    const event = nr === undefined ? undefined : await turnEvent(turn, store, nr)
    if (event !== undefined) found.set(key, event)
  }
  return found
}

/** The id that the create event must have, where the room id tells. */
export function knownCreate(turn: Pick<TurnRoom, 'room' | 'rules'>): EventId | undefined {
  return turn.rules.createHashRoomId ? createIdOfRoom(turn.room) : undefined
}

/** The room is too busy, or its owner is changing: the client may try again. */
export function busy(): MatrixError {
  return new MatrixError('M_LIMIT_EXCEEDED', 'the room is busy, try again', {
    status: 429,
    fields: { retry_after_ms: 1_000 },
  })
}
