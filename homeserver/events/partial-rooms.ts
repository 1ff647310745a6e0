/**
 * Rooms whose state came without members when this server joined them: which these are is known to every process, from
 * the log. Whoever reads memberships of a room and needs them all asks here first.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid}
 */

import type { EventId } from '../../spec/ids.ts'
import { isEventId, isRoomId, isServerName, type RoomId, type ServerName } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import type { LogEntry, LogRow, Position, Tail } from '../stream/log.ts'
import { partialRoom, partialRooms } from './partial-queries.ts'
import { isDeletion } from './purged.ts'

/** `ref` of the log row that says that `room` is incomplete from now on, or complete. */
const begunRef = 'events:partial'
const completedRef = 'events:complete'

/** A room whose members are not all known. */
export interface PartialRoom {
  readonly room: RoomId
  /** The join of ours before which the state is incomplete. */
  readonly joinId: EventId
  /** Who let us in. */
  readonly origin: ServerName
  /** Servers in the room when we came. */
  readonly servers: readonly ServerName[]
}

/** What is known at one moment. */
interface PartialView {
  has(room: RoomId): boolean
  /** The log position at which the room became complete; undefined for one that was so from the first. */
  completedAt(room: RoomId): Position | undefined
}

export interface PartialRooms {
  /** Cheap: in memory but for the first time. */
  view(): Promise<PartialView>
  /** Is the room's membership incomplete. */
  isPartial(room: RoomId): Promise<boolean>
  /** Servers that were in a partial room when we came; none for any other room. */
  serversOf(room: RoomId): Promise<ReadonlySet<ServerName>>
  find(room: RoomId): Promise<PartialRoom | undefined>
  /** Those that are partial now. */
  all(): Promise<readonly RoomId[]>
  /** Resolves to whether the room is complete, at the latest after `timeoutMs`. */
  complete(room: RoomId, timeoutMs: number): Promise<boolean>
  /** Called when a room becomes partial. */
  onBegun(listener: (room: RoomId) => void): void
}

interface Needs {
  readonly db: Database
  readonly tail: Pick<Tail, 'subscribe'>
  readonly clock: Pick<Clock, 'sleep'>
}

const nobody: ReadonlySet<ServerName> = new Set()

/** Builds the registry; before the tail starts. */
export function createPartialRooms({ db, tail, clock }: Needs): PartialRooms {
  /** Undefined: partial. */
  const rooms = new Map<RoomId, Position | undefined>()
  /** Those that are partial now: few, where the others are all that ever were. */
  const open = new Set<RoomId>()
  /** What the tail brought; it is newer than what is read. */
  const told = new Set<RoomId>()
  const servers = new Map<RoomId, Promise<ReadonlySet<ServerName>>>()
  const waiting = new Map<RoomId, Set<() => void>>()
  const listeners: ((room: RoomId) => void)[] = []
  let loading: Promise<void> | undefined
  let isLoaded = false

  const view: PartialView = {
    has: (room) => open.has(room),
    completedAt: (room) => rooms.get(room),
  }

  function loaded(): Promise<void> {
    loading ??= load().catch((error: unknown) => {
      loading = undefined
      throw error
    })
    return loading
  }

  async function load(): Promise<void> {
    for (const { room_id: room, completed } of await partialRooms(db))
      if (isRoomId(room) && !told.has(room)) note(room, completed ?? undefined)
    isLoaded = true
  }

  function note(room: RoomId, completed: Position | undefined): void {
    rooms.set(room, completed)
    if (completed === undefined) open.add(room)
    else open.delete(room)
  }

  async function readServers(room: RoomId): Promise<ReadonlySet<ServerName>> {
    return new Set((await partialRoom(db, room))?.servers.filter(isServerName))
  }

  function apply({ room, position }: LogRow, isBegun: boolean): void {
    if (room === undefined) return
    told.add(room)
    servers.delete(room)
    note(room, isBegun ? undefined : position)
    if (isBegun) for (const listener of listeners) listener(room)
    else for (const wake of waiting.get(room) ?? []) wake()
  }

  tail.subscribe('partial rooms', (rows) => {
    for (const row of rows) {
      if (row.kind !== 'invalidate') continue
      if (row.ref === begunRef) apply(row, true)
      else if (row.ref === completedRef) apply(row, false)
      else if (isDeletion(row) && row.room !== undefined && rooms.has(row.room)) {
        apply(row, false)
      }
    }
  })

  const isPartial: PartialRooms['isPartial'] = async (room) => {
    if (!isLoaded) await loaded()
    return view.has(room)
  }

  return {
    async view() {
      if (!isLoaded) await loaded()
      return view
    },
    isPartial,
    async serversOf(room) {
      if (!(await isPartial(room))) return nobody
      const known = servers.get(room) ?? readServers(room)
      servers.set(room, known)
      known.catch(() => servers.delete(room))
      return await known
    },
    async find(room) {
      const row = await partialRoom(db, room)
      if (row === undefined || row.completed !== null) return undefined
      const { join_id: joinId, origin } = row
      if (!isEventId(joinId) || !isServerName(origin)) return undefined
      return { room, joinId, origin, servers: row.servers.filter(isServerName) }
    },
    async all() {
      if (!isLoaded) await loaded()
      return [...open]
    },
    async complete(room, timeoutMs) {
      if (!(await isPartial(room))) return true
      const waiters = waiting.get(room) ?? new Set()
      waiting.set(room, waiters)
      const done = new AbortController()
      const wake = () => done.abort()
      waiters.add(wake)
      await clock.sleep(timeoutMs, done.signal).catch(() => {})
      waiters.delete(wake)
      if (waiters.size === 0) waiting.delete(room)
      return !view.has(room)
    },
    onBegun: (listener) => void listeners.push(listener),
  }
}

/** Tells every process that a room's members are not all known, or that they are now. */
export function partialEntry(room: RoomId, isBegun: boolean): LogEntry {
  const ref = isBegun ? begunRef : completedRef
  return { kind: 'invalidate', room, ref, payload: undefined }
}

/** Has a room become complete. */
export function isCompletion({ kind, ref }: Pick<LogRow, 'kind' | 'ref'>): boolean {
  return kind === 'invalidate' && ref === completedRef
}
