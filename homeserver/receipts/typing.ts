/**
 * Knows who is typing where: in memory only, told to the other processes over the bus. A crash loses it, and a
 * typist who goes silent is forgotten in time. {@link https://spec.matrix.org/v1.19/client-server-api/#typing-notifications}
 */
import { forbidden } from '../../spec/errors.ts'
import {
  isRoomId,
  isUserId,
  type RoomId,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import { isObject } from '../../spec/json.ts'
import type { Clock } from '../platform/clock.ts'
import type { Bus } from '../platform/redis.ts'
import type { Memberships, Requester } from '../rooms/rooms.ts'
import type { Tail } from '../stream/log.ts'

export interface TypingChange {
  readonly room: RoomId
  readonly user: UserId
  readonly typing: boolean
}

export interface Typing extends Disposable {
  /** Throws M_FORBIDDEN outside the room. `timeoutMs` is cut to two minutes. */
  setTyping(who: Requester, room: RoomId, typing: boolean, timeoutMs?: number): Promise<void>
  typingOf(room: RoomId): readonly UserId[]
  /** Rises with every change in any room: milliseconds, made unique. What a token carries. */
  readonly stamp: number
  /** The stamp of the room's last change; 0 when there was none. */
  changedAt(room: RoomId): number
  /** In every process; called again for somebody who keeps typing, often enough for other servers. */
  onTyping(listener: (change: TypingChange) => void): Disposable
  onRemoteTyping(
    origin: ServerName,
    edu: { readonly room_id: RoomId; readonly user_id: UserId; readonly typing: boolean },
  ): Promise<void>
}

export interface TypingNeeds {
  readonly clock: Clock
  readonly bus: Pick<Bus, 'publish' | 'subscribe'>
  readonly tail: Pick<Tail, 'subscribe'>
  readonly memberships: Pick<Memberships, 'isJoined'>
}

const timeoutMaxMs = 120_000
const timeoutDefaultMs = 30_000
/** Other servers refresh a typist every 40 s or so. */
const remoteTimeoutMs = 60_000
const refreshMs = 40_000
const sweepMs = 500
const typistsPerRoomMax = 1000
const roomsMax = 50_000
const topic = 'typing'

/** Until when somebody types, and when the listeners were told. */
interface Typist {
  readonly until: number
  readonly toldAt: number
}

export function createTyping(needs: TypingNeeds): Typing {
  const { clock, bus, memberships } = needs
  const rooms = new Map<RoomId, Map<UserId, Typist>>()
  const changedAt = new Map<RoomId, number>()
  const listeners = new Set<(change: TypingChange) => void>()
  let stamp = clock.now()

  function tell(change: TypingChange): void {
    for (const listener of listeners) listener(change)
  }

  function changed(change: TypingChange): void {
    stamp = Math.max(stamp + 1, clock.now())
    changedAt.delete(change.room)
    changedAt.set(change.room, stamp)
    // Old changes are at the front: nobody waits with a token that old.
    for (const room of changedAt.keys()) {
      if (changedAt.size <= roomsMax) break
      changedAt.delete(room)
    }
    tell(change)
  }

  function start(room: RoomId, user: UserId, until: number): void {
    const typists = rooms.get(room) ?? new Map<UserId, Typist>()
    const before = typists.get(user)
    if (before === undefined && (typists.size >= typistsPerRoomMax || rooms.size >= roomsMax))
      return
    rooms.set(room, typists)
    const fresh = before === undefined || clock.now() - before.toldAt >= refreshMs
    typists.set(user, { until, toldAt: fresh ? clock.now() : before.toldAt })
    if (before === undefined) changed({ room, user, typing: true })
    else if (fresh) tell({ room, user, typing: true })
  }

  function stop(room: RoomId, user: UserId): void {
    const typists = rooms.get(room)
    if (!typists?.delete(user)) return
    if (typists.size === 0) rooms.delete(room)
    changed({ room, user, typing: false })
  }

  function apply(room: RoomId, user: UserId, typing: boolean, until: number): void {
    if (typing) start(room, user, until)
    else stop(room, user)
  }

  function publish(room: RoomId, user: UserId, typing: boolean, timeoutMs: number): void {
    bus.publish(topic, JSON.stringify({ room, user, typing, timeoutMs }))
  }

  const subscriptions = [
    bus.subscribe(topic, (message) => {
      const said: unknown = JSON.parse(message)
      if (!isObject(said)) return
      const { room, user, typing, timeoutMs } = said
      if (!isRoomId(room) || !isUserId(user)) return
      const until = clock.now() + (typeof timeoutMs === 'number' ? timeoutMs : timeoutDefaultMs)
      apply(room, user, typing === true, until)
    }),
    clock.every(sweepMs, () => {
      for (const [room, typists] of rooms) {
        for (const [user, { until }] of typists) if (until <= clock.now()) stop(room, user)
      }
    }),
    // Whoever leaves types no more.
    needs.tail.subscribe('typing', (rows) => {
      for (const { kind, room, user } of rows) {
        if (kind !== 'event' || !room || !user || !rooms.get(room)?.has(user)) continue
        void memberships.isJoined(user, room).then(
          (joined) => joined || stop(room, user),
          () => undefined,
        )
      }
    }),
  ]

  return {
    async setTyping(who, room, typing, timeoutMs = timeoutDefaultMs) {
      if (!(await memberships.isJoined(who.user, room))) throw forbidden('not in the room')
      const ms = Math.min(Math.max(timeoutMs, 0), timeoutMaxMs)
      apply(room, who.user, typing, clock.now() + ms)
      publish(room, who.user, typing, ms)
    },
    typingOf: (room) => [...(rooms.get(room)?.keys() ?? [])],
    get stamp() {
      return stamp
    },
    changedAt: (room) => changedAt.get(room) ?? 0,
    onTyping(listener) {
      listeners.add(listener)
      return { [Symbol.dispose]: () => void listeners.delete(listener) }
    },
    async onRemoteTyping(origin, { room_id: room, user_id: user, typing }) {
      if (serverOfUser(user) !== origin || !(await memberships.isJoined(user, room))) return
      apply(room, user, typing, clock.now() + remoteTimeoutMs)
      publish(room, user, typing, remoteTimeoutMs)
    },
    [Symbol.dispose]() {
      for (const subscription of subscriptions) subscription[Symbol.dispose]()
    },
  }
}
