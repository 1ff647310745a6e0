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
import { createPerKeyQueue, QueueFullError } from '../platform/per-key-queue.ts'
import { readCurrentState } from '../state/state.ts'
import type { LogWrite, LogWriter, Verdict } from '../stream/log.ts'
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
  /** Accepted and not yet committed. */
  readonly pending: Map<EventId, StoredEvent>
  readonly pendingNumbers: Map<number, StoredEvent>
  readonly inFlight: Set<Promise<Verdict>>
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

interface Needs {
  readonly db: Database
  readonly log: LogWriter
  readonly store: EventStore
}

export function createTurns({ db, log }: Needs): Turns {
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
    const fence = await claim(room)
    const turn = await read(room, fence)
    if (turn !== undefined) rooms.set(room, turn)
    return turn
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
    })
  }

  async function queued<T>(room: RoomId, work: () => Promise<T>): Promise<T> {
    try {
      return await queue.run(room, work)
    } catch (error) {
      throw error instanceof QueueFullError ? busy() : error
    }
  }

  return {
    run: (room, work) =>
      queued(room, async () => {
        const turn = await open(room)
        if (turn === undefined) throw new MatrixError('M_NOT_FOUND', 'Unknown room')
        return await guarded(turn, () => work(turn))
      }),
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
      const settled = (outcome: Verdict | undefined) => {
        turn.inFlight.delete(verdict)
        if (event !== undefined) {
          turn.pending.delete(event.pdu.eventId)
          turn.pendingNumbers.delete(event.nr)
        }
        if (outcome?.kind !== 'done') turn.broken = true
      }
      verdict.then(settled, () => settled(undefined))
      return verdict
    },
    pending: (room, id) => rooms.peek(room)?.pending.get(id),
    forget: (room) => void rooms.delete(room),
    adopt: (turn) => void rooms.set(turn.room, turn),
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
  start: Pick<TurnRoom, 'state' | 'root' | 'extremities' | 'depth'>,
): TurnRoom {
  const { state, root, extremities, depth } = start
  return {
    room,
    rules,
    fence,
    state,
    root,
    extremities,
    depth,
    pending: new Map(),
    pendingNumbers: new Map(),
    inFlight: new Set(),
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
