/**
 * Who has to be woken by what. A user who syncs is watched: their rooms are known, and each row of the log that may
 * concern them leaves its position with them. So a sync that is up to date is told so by two comparisons, and a
 * long poll costs one entry in a set.
 */
import { LRUCache } from 'lru-cache'
import { type DeviceId, isUserId, type RoomId, type UserId } from '../../spec/ids.ts'
import type { Clock } from '../platform/clock.ts'
import type { Presence } from '../presence/presence.ts'
import type { Typing } from '../receipts/typing.ts'
import type { Memberships } from '../rooms/rooms.ts'
import type { LogRow, Position, Tail } from '../stream/log.ts'

/** What a sync has seen. */
export interface SeenUpTo {
  readonly position: Position
  readonly typing: number
  readonly presence: number
}

export interface Waiters {
  /** Watches a user from now on, or goes on watching. */
  watch(user: UserId): Promise<Watch>
}

export interface Watch {
  /**
   * May there be something between what was seen and where the tail was at the call: false is certain, true is not.
   * Waits for what is being found out about rows that the tail has passed.
   */
  hasNews(seen: SeenUpTo, device: DeviceId | undefined): Promise<boolean>
  /** Resolves when there may be news, when the time is over and when the signal is aborted. */
  wait(
    seen: SeenUpTo,
    device: DeviceId | undefined,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<void>
}

interface Waiter {
  readonly device: DeviceId | undefined
  readonly wake: () => void
}

interface Watched {
  readonly user: UserId
  /** Rooms with the user in them, and some that they have left since. */
  readonly rooms: Set<RoomId>
  readonly waiters: Set<Waiter>
  /** Rows up to here are not known of. */
  from: Position
  /** Newest row that concerns the user, all devices. */
  touched: Position
  /** Newest row that concerns one device. */
  readonly devices: Map<string, Position>
  typing: number
  presence: number
}

/** Users watched at a time; one who drops out is found to have news at the next sync. */
const usersMax = 50_000

interface Needs {
  readonly tail: Pick<Tail, 'subscribe' | 'position'>
  readonly clock: Clock
  readonly memberships: Pick<Memberships, 'ofUser'>
  readonly typing: Pick<Typing, 'onTyping' | 'changedAt' | 'stamp'>
  readonly presence: Pick<Presence, 'onChange' | 'stamp'>
}

export function createWaiters({ tail, clock, memberships, typing, presence }: Needs): Waiters {
  const rooms = new Map<RoomId, Set<Watched>>()
  const users = new LRUCache<UserId, Watched>({ max: usersMax, dispose: forget })
  const beginning = new Map<UserId, Promise<Watched>>()
  /** Rows passed by the tail for which it is still being found out whom they concern. */
  const searching = new Set<Promise<void>>()

  function forget(watched: Watched): void {
    for (const room of watched.rooms) leave(watched, room)
    wake(watched)
  }

  function enter(watched: Watched, room: RoomId): void {
    watched.rooms.add(room)
    const inRoom = rooms.get(room)
    if (inRoom === undefined) rooms.set(room, new Set([watched]))
    else inRoom.add(watched)
  }

  function leave(watched: Watched, room: RoomId): void {
    watched.rooms.delete(room)
    const inRoom = rooms.get(room)
    inRoom?.delete(watched)
    if (inRoom?.size === 0) rooms.delete(room)
  }

  function touch(watched: Watched | undefined, position: Position): void {
    if (watched === undefined) return
    if (watched.touched < position) watched.touched = position
    wake(watched)
  }

  function touchRoom(room: RoomId, position: Position): void {
    for (const watched of rooms.get(room) ?? []) touch(watched, position)
  }

  function onEvent({ room, user, position }: LogRow): void {
    if (room === undefined) return
    const member = user === undefined ? undefined : users.peek(user)
    // Whoever left is in the set until their next sync, which this row brings about.
    if (member !== undefined) enter(member, room)
    touchRoom(room, position)
  }

  function onState({ room, ref, position }: LogRow): void {
    if (room === undefined) return
    for (const user of ref === '*' ? [] : membersIn(ref)) {
      const member = users.peek(user)
      if (member !== undefined) enter(member, room)
    }
    touchRoom(room, position)
  }

  function onReceipt({ room, user, ref, position }: LogRow): void {
    if (room === undefined) return
    if (ref.includes('"m.read.private"')) touch(user && users.peek(user), position)
    else touchRoom(room, position)
  }

  function onToDevice({ user, ref, position }: LogRow): void {
    const watched = user && users.peek(user)
    if (!watched) return
    watched.devices.set(ref, position)
    for (const waiter of watched.waiters) if (waiter.device === ref) waiter.wake()
  }

  function onRow(row: LogRow): void {
    switch (row.kind) {
      case 'event':
        onEvent(row)
        break
      case 'state':
        onState(row)
        break
      case 'receipt':
        onReceipt(row)
        break
      case 'accountData':
      case 'outOfBandMembership':
        touch(row.user && users.peek(row.user), row.position)
        break
      case 'toDevice':
        onToDevice(row)
        break
      case 'deviceList':
        if (row.user) forSharing(row.user, (watched) => touch(watched, row.position))
        break
    }
  }

  /** Calls back for those watched who share a room with a user, and for the user. */
  function forSharing(user: UserId, found: (watched: Watched) => void): void {
    const search = find(user, found).finally(() => searching.delete(search))
    searching.add(search)
  }

  async function find(user: UserId, found: (watched: Watched) => void): Promise<void> {
    const sharing = new Set<Watched>()
    const own = users.peek(user)
    if (own !== undefined) sharing.add(own)
    try {
      for (const [room, { membership }] of await memberships.ofUser(user)) {
        if (membership === 'join') for (const one of rooms.get(room) ?? []) sharing.add(one)
      }
    } catch {
      // Who it concerns could not be read: everybody looks for themselves.
      for (const one of users.values()) sharing.add(one)
    }
    for (const watched of sharing) found(watched)
  }

  tail.subscribe('waiting syncs', (rows) => {
    for (const row of rows) onRow(row)
  })
  typing.onTyping(({ room }) => {
    const stamp = typing.changedAt(room)
    for (const watched of rooms.get(room) ?? []) {
      if (watched.typing >= stamp) continue
      watched.typing = stamp
      wake(watched)
    }
  })
  presence.onChange(({ user }) => {
    const { stamp } = presence
    forSharing(user, (watched) => {
      watched.presence = Math.max(watched.presence, stamp)
      wake(watched)
    })
  })

  async function begin(user: UserId): Promise<Watched> {
    const fresh = { typing: 0, presence: 0, from: Number.MAX_SAFE_INTEGER, touched: 0 }
    const collections = { rooms: new Set<RoomId>(), waiters: new Set<Waiter>() }
    const watched: Watched = { user, ...fresh, ...collections, devices: new Map() }
    users.set(user, watched)
    try {
      for (const [room, { membership }] of await memberships.ofUser(user)) {
        if (membership === 'join' || membership === 'invite') enter(watched, room)
      }
    } catch (error) {
      users.delete(user)
      throw error
    }
    // What was before this moment is not known of: whoever has not seen it looks for themselves.
    watched.typing = typing.stamp
    watched.presence = presence.stamp
    watched.from = tail.position
    return watched
  }

  async function watched(user: UserId): Promise<Watched> {
    const underWay = beginning.get(user)
    if (underWay !== undefined) return await underWay
    const known = users.get(user)
    if (known !== undefined) return known
    const begun = begin(user).finally(() => beginning.delete(user))
    beginning.set(user, begun)
    return await begun
  }

  function isBehind(one: Watched, seen: SeenUpTo, device: DeviceId | undefined): boolean {
    const { position } = seen
    if (position < one.from || position < one.touched) return true
    if (device !== undefined && (one.devices.get(device) ?? 0) > position) return true
    return one.typing > seen.typing || one.presence > seen.presence || users.peek(one.user) !== one
  }

  async function wait(
    one: Watched,
    device: DeviceId | undefined,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<void> {
    const timer = new AbortController()
    const woken = new Promise<void>((resolve) => {
      const done = () => {
        one.waiters.delete(waiter)
        signal.removeEventListener('abort', done)
        resolve()
      }
      const waiter: Waiter = { device, wake: done }
      one.waiters.add(waiter)
      signal.addEventListener('abort', done, { once: true })
      clock.sleep(timeoutMs, timer.signal).then(done, () => {})
    })
    await woken.finally(() => timer.abort())
  }

  return {
    async watch(user) {
      const one = await watched(user)
      return {
        async hasNews(seen, device) {
          if (searching.size > 0) await Promise.all(searching)
          return isBehind(one, seen, device)
        },
        async wait(seen, device, timeoutMs, signal) {
          if (signal.aborted || isBehind(one, seen, device)) return
          await wait(one, device, timeoutMs, signal)
        },
      }
    },
  }
}

function wake(watched: Watched): void {
  for (const waiter of watched.waiters) waiter.wake()
}

/** Users whose member events are among the changed keys of a `state` row. */
function membersIn(ref: string): UserId[] {
  const changes: unknown = JSON.parse(ref)
  if (!Array.isArray(changes)) return []
  return changes.flatMap((change: unknown) => {
    const key: unknown = Array.isArray(change) ? change[0] : change
    const [type, user] = typeof key === 'string' ? key.split('\u0000') : []
    return type === 'm.room.member' && isUserId(user) ? [user] : []
  })
}
