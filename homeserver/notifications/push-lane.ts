import type { UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Clock } from '../platform/clock.ts'
import type { Notice } from './push-message.ts'
import type { StoredPusher } from './pushers.ts'

/** A notice that waits for its pusher, with the log position of its event. */
export interface Push extends Notice {
  readonly position: number
}

/** Since when and how often a gateway did not answer. */
export interface Lag {
  /** Log position after which something was not taken. */
  readonly behindFrom: number
  readonly failingSince: number
  readonly failures: number
  readonly nextTryAt: number
}

/** What one pusher is still to be told, in order. */
export interface Lane {
  readonly user: UserId
  /** Adds a notice in its place; one that is there already, or was sent last, is passed over. */
  add(push: Push): void
  /** The badge may have another number. */
  checkBadge(): void
  /** What another process, or this one before its start, could not deliver. */
  resume(lag: Lag): void
  /** Sends what is due; answers when nothing more can be done now. */
  run(): Promise<void>
  /** The pusher was set anew: it is tried at once. */
  forgetLag(): void
  /** Has it anything to do now. */
  isDue(): boolean
  /** Resolves when it does nothing at the moment. */
  settled(): Promise<void>
  /** Has it nothing to do, now or later. */
  readonly isIdle: boolean
  /** Position of the oldest notice that only this memory knows of. */
  readonly unstored: number | undefined
}

export const laneLimits = {
  /** Notices that wait for one pusher; the oldest make room, for a phone that was away wants the newest. */
  pushesMax: 50,
  retryMinMs: 1_000,
  retryMaxMs: 3_600_000,
  /** What a gateway did not take for so long is given up. */
  giveUpMs: 86_400_000,
} as const

/** What a gateway is told, and the number on the badge that it tells. */
export interface Message {
  readonly body: JsonObject
  readonly unread: number
}

export interface LaneNeeds {
  readonly clock: Clock
  readonly user: UserId
  /** The pusher as it is now; undefined when it is gone, or switched off. */
  readonly pusher: () => Promise<StoredPusher | undefined>
  /** The message for a notice; undefined when the user has read it, or needs not hear of it any more. */
  readonly message: (
    pusher: StoredPusher,
    push: Push,
    isLate: boolean,
  ) => Promise<Message | undefined>
  /** The message for a badge with another number than `before`; undefined when it is the same. */
  readonly badge: (pusher: StoredPusher, before: number | undefined) => Promise<Message | undefined>
  /** Rejects when the gateway does not take it. */
  readonly send: (pusher: StoredPusher, message: JsonObject) => Promise<void>
  /** Reads the notices after a position. */
  readonly missed: (after: number) => Promise<readonly Push[]>
  /** Stores how far the pusher lags behind; undefined: not at all. */
  readonly store: (lag: Lag | undefined) => Promise<void>
}

/** One pusher: its notices go out one after the other, and are tried again until the gateway takes them. */
export function createLane(needs: LaneNeeds): Lane {
  const { clock } = needs
  const pushes: Push[] = []
  let lag: Lag | undefined
  /** What `lag.behindFrom` stands for has to be read first. */
  let isToRead = false
  let isBadgeStale = false
  let badge: number | undefined
  let lastSent = 0
  let running: Promise<void> | undefined
  /** Asked to run while running. */
  let again = false

  function insert(push: Push): void {
    const at = pushes.findLastIndex((one) => one.position <= push.position)
    if (pushes[at]?.position === push.position || push.position === lastSent) return
    pushes.splice(at + 1, 0, push)
    if (pushes.length > laneLimits.pushesMax) pushes.shift()
  }

  async function failed(): Promise<void> {
    const failures = (lag?.failures ?? 0) + 1
    const pauseMs = Math.min(laneLimits.retryMinMs * 2 ** (failures - 1), laneLimits.retryMaxMs)
    const now = clock.now()
    const behindFrom = Math.min(lag?.behindFrom ?? Infinity, (pushes[0]?.position ?? 1) - 1)
    const failingSince = lag?.failingSince ?? now
    if (now - failingSince > laneLimits.giveUpMs) {
      pushes.length = 0
      await caughtUp()
      return
    }
    lag = { behindFrom, failingSince, failures, nextTryAt: now + pauseMs }
    await needs.store(lag)
  }

  async function caughtUp(): Promise<void> {
    if (lag === undefined) return
    lag = undefined
    isToRead = false
    await needs.store(undefined)
  }

  /** Sends the oldest notice; false when the gateway does not take it. */
  async function sendNext(pusher: StoredPusher, push: Push): Promise<boolean> {
    const message = await needs.message(pusher, push, lag !== undefined)
    if (message !== undefined) {
      try {
        await needs.send(pusher, message.body)
      } catch {
        await failed()
        return false
      }
      lastSent = push.position
      badge = message.unread
    }
    const at = pushes.indexOf(push)
    if (at !== -1) pushes.splice(at, 1)
    return true
  }

  async function sendBadge(pusher: StoredPusher): Promise<void> {
    isBadgeStale = false
    const message = await needs.badge(pusher, badge)
    if (message === undefined) return
    badge = message.unread
    try {
      await needs.send(pusher, message.body)
    } catch {
      // The next notice carries the number too: a badge alone is not tried again.
      badge = undefined
    }
  }

  async function work(): Promise<void> {
    const pusher = await needs.pusher()
    if (pusher === undefined) {
      pushes.length = 0
      lag = undefined
      isBadgeStale = false
      return
    }
    if (isToRead && lag !== undefined) {
      for (const push of await needs.missed(lag.behindFrom)) insert(push)
      isToRead = false
    }
    for (let push = pushes[0]; push !== undefined; push = pushes[0]) {
      if (!(await sendNext(pusher, push))) return
    }
    await caughtUp()
    if (isBadgeStale) await sendBadge(pusher)
  }

  async function runAll(): Promise<void> {
    do {
      again = false
      await work()
    } while (again && isDue())
  }

  function isDue(): boolean {
    if (pushes.length === 0 && !isToRead && !isBadgeStale) return false
    return lag === undefined || lag.nextTryAt <= clock.now()
  }

  return {
    user: needs.user,
    add: insert,
    checkBadge() {
      isBadgeStale = true
    },
    resume(stored) {
      if (lag !== undefined) return
      lag = stored
      isToRead = true
    },
    forgetLag() {
      if (lag !== undefined) lag = { ...lag, nextTryAt: 0 }
    },
    run() {
      again = true
      if (running === undefined && !isDue()) return Promise.resolve()
      running ??= runAll().finally(() => {
        running = undefined
      })
      return running
    },
    isDue,
    settled: async () => await running,
    get isIdle() {
      return running === undefined && pushes.length === 0 && lag === undefined && !isBadgeStale
    },
    get unstored() {
      return lag === undefined ? pushes[0]?.position : undefined
    },
  }
}
