import { LRUCache } from 'lru-cache'
import type { DeviceId, RoomId, UserId } from '../../spec/ids.ts'
import { atMost } from '../platform/cache.ts'
import type { Memberships } from '../rooms/rooms.ts'
import type { Position } from '../stream/log.ts'

/** A long poll. */
export interface Waiter {
  readonly device: DeviceId | undefined
  readonly wake: () => void
}

/** A user who syncs, with the marks that rows of the log leave. */
export interface Watched {
  readonly user: UserId
  /** Rooms with the user in them, and some that they have left since. */
  readonly rooms: Set<RoomId>
  readonly waiters: Set<Waiter>
  /** Rows up to here have left no marks. */
  from: Position
  /** Newest row that concerns the user, all devices. */
  touched: Position
  /** Newest row that concerns one device. */
  readonly devices: Map<string, Position>
  /** Stamps of the last changes that concern the user. */
  typing: number
  presence: number
}

/** Users watched at a time; one who drops out is found to have news at the next sync. */
const usersMax = 50_000

/** The users who sync, by name and by room. */
export interface WatchedUsers {
  /** Watches a user from now on, or goes on watching. */
  get(user: UserId): Promise<Watched>
  peek(user: UserId | undefined): Watched | undefined
  inRoom(room: RoomId): Iterable<Watched>
  enter(watched: Watched, room: RoomId): void
  all(): Iterable<Watched>
}

/** `begin` sets from where on the marks of a new one are complete; called when its rooms are known. */
export function createWatchedUsers(
  memberships: Pick<Memberships, 'ofUser'>,
  begin: (watched: Watched) => void,
): WatchedUsers {
  const rooms = new Map<RoomId, Set<Watched>>()
  const users = new LRUCache<UserId, Watched>({ ...atMost(usersMax), dispose: forget })
  const beginning = new Map<UserId, Promise<Watched>>()

  function forget(watched: Watched): void {
    for (const room of watched.rooms) {
      const inRoom = rooms.get(room)
      inRoom?.delete(watched)
      if (inRoom?.size === 0) rooms.delete(room)
    }
    watched.rooms.clear()
    wake(watched)
  }

  function enter(watched: Watched, room: RoomId): void {
    watched.rooms.add(room)
    const inRoom = rooms.get(room)
    if (inRoom === undefined) rooms.set(room, new Set([watched]))
    else inRoom.add(watched)
  }

  async function watchNew(user: UserId): Promise<Watched> {
    const watched = unmarked(user)
    users.set(user, watched)
    try {
      for (const [room, { membership }] of await memberships.ofUser(user)) {
        if (membership === 'join' || membership === 'invite') enter(watched, room)
      }
    } catch (error) {
      users.delete(user)
      throw error
    }
    begin(watched)
    return watched
  }

  return {
    async get(user) {
      const underWay = beginning.get(user)
      if (underWay !== undefined) return await underWay
      const known = users.get(user)
      if (known !== undefined) return known
      const begun = watchNew(user).finally(() => beginning.delete(user))
      beginning.set(user, begun)
      return await begun
    },
    peek: (user) => user && users.peek(user),
    inRoom: (room) => rooms.get(room) ?? [],
    enter,
    all: () => users.values(),
  }
}

function unmarked(user: UserId): Watched {
  return {
    user,
    rooms: new Set(),
    waiters: new Set(),
    from: Number.MAX_SAFE_INTEGER,
    touched: 0,
    devices: new Map(),
    typing: 0,
    presence: 0,
  }
}

/** Wakes the user's long polls: all, or those of one device. */
export function wake({ waiters }: Watched, device?: string): void {
  for (const waiter of waiters) {
    if (device === undefined || waiter.device === device) waiter.wake()
  }
}
