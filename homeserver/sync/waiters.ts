/**
 * Who has to be woken by what. A user who syncs is watched: their rooms are known, and each row of the log that may
 * concern them leaves its position with them. So a sync that is up to date is told so by two comparisons, and a
 * long poll costs one entry in a set.
 */
import type { DeviceId, RoomId, UserId } from '../../spec/ids.ts'
import type { Clock } from '../platform/clock.ts'
import type { Presence } from '../presence/presence.ts'
import type { Typing } from '../receipts/typing.ts'
import type { Position, Tail } from '../stream/log.ts'
import { createDeadlines, type Deadlines } from './deadlines.ts'
import { leaveMarks, type MarkNeeds } from './marks.ts'
import { createWatchedUsers, type Waiter, type Watched } from './watched-users.ts'

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
  /** May a user sharing a room have another presence than was seen; to be asked after `hasNews`. */
  hasPresence(seen: SeenUpTo): boolean
  /** Wakes the user by what happens in a room that they need not be in. */
  enter(room: RoomId): void
  /** Resolves when there may be news, when the time is over and when the signal is aborted. */
  wait(
    seen: SeenUpTo,
    device: DeviceId | undefined,
    timeoutMs: number,
    signal: AbortSignal,
    stay?: Stay,
  ): Promise<void>
}

/** What is done now and then while somebody waits. */
export interface Stay {
  readonly everyMs: number
  readonly call: () => void
}

interface Needs extends MarkNeeds {
  readonly tail: Pick<Tail, 'subscribe' | 'position'>
  readonly clock: Clock
  readonly typing: MarkNeeds['typing'] & Pick<Typing, 'stamp'>
  readonly presence: MarkNeeds['presence'] & Pick<Presence, 'stamp'>
}

export function createWaiters(needs: Needs): Waiters {
  const { tail, typing, presence } = needs
  const users = createWatchedUsers(needs.memberships, (watched) => {
    // What was before this moment is not known of: whoever has not seen it looks for themselves.
    watched.typing = typing.stamp
    watched.presence = presence.stamp
    watched.from = tail.position
  })
  const marks = leaveMarks(needs, users)
  const deadlines = createDeadlines(needs.clock)

  function isBehind(one: Watched, seen: SeenUpTo, device: DeviceId | undefined): boolean {
    const { position } = seen
    if (position < one.from || position < one.touched) return true
    if (device !== undefined && (one.devices.get(device) ?? 0) > position) return true
    return one.typing > seen.typing || one.presence > seen.presence || users.peek(one.user) !== one
  }

  return {
    async watch(user) {
      const one = await users.get(user)
      return {
        async hasNews(seen, device) {
          const searching = marks.settled()
          if (searching !== undefined) await searching
          return isBehind(one, seen, device)
        },
        hasPresence: (seen) => one.presence > seen.presence,
        enter: (room) => users.enter(one, room),
        async wait(seen, device, timeoutMs, signal, stay) {
          if (signal.aborted || isBehind(one, seen, device)) return
          const staying = stay && repeat(deadlines, stay)
          await wait(deadlines, one, device, timeoutMs, signal)
          staying?.()
        },
      }
    },
  }
}

/** Calls until the answer is called. */
function repeat(deadlines: Deadlines, { everyMs, call }: Stay): () => void {
  let cancel = deadlines.add(everyMs, again)
  function again(): void {
    call()
    cancel = deadlines.add(everyMs, again)
  }
  return () => cancel()
}

function wait(
  deadlines: Deadlines,
  { waiters }: Watched,
  device: DeviceId | undefined,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      waiters.delete(waiter)
      cancel()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const waiter: Waiter = { device, wake: done }
    const cancel = deadlines.add(timeoutMs, done)
    waiters.add(waiter)
    signal.addEventListener('abort', done, { once: true })
  })
}
