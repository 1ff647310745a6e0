import type { UserId } from '../../spec/ids.ts'
import { stringAt } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import type { Events } from '../events/events.ts'
import { threadRootOf } from '../events/threading.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { PushGateways } from '../ports.ts'
import type { Memberships } from '../rooms/rooms.ts'
import { createLane, type Lane, type Message, type Push } from './push-lane.ts'
import { badgeMessage, eventMessage, keepsOwnBadge, type MessageNeeds } from './push-message.ts'
import { createSlots } from './push-slots.ts'
import * as queries from './pusher-queries.ts'
import type { Pushers, StoredPusher } from './pushers.ts'
import { mainThread } from './room-count.ts'
import type { UnreadCounts } from './unread.ts'

export interface PushLanes extends AsyncDisposable {
  /** Tells all pushers of a user. */
  add(user: UserId, push: Push): Promise<void>
  /** The number of what is unread may have fallen. */
  checkBadge(user: UserId): Promise<void>
  /** The user's pushers were set, or deleted. */
  changed(user: UserId): void
  /** Lets those go on whose time has come, and forgets those that have nothing to do or belong to another process. */
  runDue(isMine: (user: UserId) => boolean): void
  /** Goes on with what is stored as not delivered. */
  takeOver(isMine: (user: UserId) => boolean): Promise<void>
  /** The oldest position of what only the memory knows; Infinity: nothing. */
  unstored(): number
}

export interface PushLanesNeeds {
  readonly db: Database
  readonly clock: Clock
  readonly logger: Logger
  readonly events: Pick<Events, 'currentEntry' | 'get'>
  readonly memberships: Pick<Memberships, 'ofRoom' | 'ofUser'>
  readonly pushers: Pushers
  readonly unread: Pick<UnreadCounts, 'byRoom' | 'of' | 'readUpTo'>
  readonly pushGateways: PushGateways
  readonly settings: PushSettings
  /** Whether the user lets this one invite them. */
  readonly wantsInvite: (user: UserId, sender: UserId) => Promise<boolean>
  /** What another server told of a room with its invite. */
  readonly strippedState: MessageNeeds['strippedState']
  readonly missed: (user: UserId, after: number) => Promise<readonly Push[]>
}

export interface PushSettings {
  /** Whether gateways are told what was said. */
  readonly includesContent: boolean
  /** Whether the badge counts rooms with something unread, and not notifications. */
  readonly countsRooms: boolean
}

/** Requests at a time: of this process, and to one gateway. */
const requestsMax = 64
const requestsPerGatewayMax = 8
/** Pushers remembered; idle ones are forgotten first. */
const lanesMax = 50_000
/** Lagging pushers taken up at a time; the others when these have moved on. */
const behindMax = 5_000

export function createPushLanes(needs: PushLanesNeeds): PushLanes {
  const { db, clock, pushers, unread, pushGateways, logger, memberships } = needs
  const slots = createSlots({ perKey: requestsPerGatewayMax, total: requestsMax })
  const lanes = new Map<string, Lane>()
  /** Lanes by user, in a map of their own: a user has few. */
  const keysOf = new Map<UserId, Set<string>>()
  const stopping = new AbortController()

  async function findPusher(user: UserId, appId: string, pushkey: string) {
    const list = await pushers.list(user)
    const found = list.find((one) => one.appId === appId && one.pushkey === pushkey)
    return found?.kind === 'http' && found.enabled ? found : undefined
  }

  function laneOf(user: UserId, appId: string, pushkey: string): Lane {
    const row = { user_id: user, app_id: appId, pushkey }
    const key = keyOf(row)
    const known = lanes.get(key)
    if (known !== undefined) return known
    const lane = createLane({
      ...{ clock, user },
      pusher: () => findPusher(user, appId, pushkey),
      message: (pusher, push, isLate) => messageFor(user, pusher, push, isLate),
      badge: (pusher, before) => badgeFor(user, pusher, before),
      send: (pusher, body) => send(user, pusher, body),
      missed: (after) => needs.missed(user, after),
      store: (lag) =>
        lag === undefined
          ? queries.markCaughtUp(db, row)
          : queries.markBehind(db, {
              ...row,
              behind_from: lag.behindFrom,
              failing_since: lag.failingSince,
              failures: lag.failures,
              next_try_at: lag.nextTryAt,
            }),
    })
    if (lanes.size >= lanesMax) dropIdle()
    lanes.set(key, lane)
    keysOf.set(user, (keysOf.get(user) ?? new Set()).add(key))
    return lane
  }

  function drop(key: string, user: UserId): void {
    lanes.delete(key)
    const keys = keysOf.get(user)
    keys?.delete(key)
    if (keys?.size === 0) keysOf.delete(user)
  }

  function dropIdle(): void {
    for (const [key, lane] of lanes) if (lane.isIdle) drop(key, lane.user)
  }

  function run(lane: Lane): void {
    if (stopping.signal.aborted) return
    lane.run().catch((error: unknown) => {
      logger.warn({ user: lane.user, error }, 'a notification was not sent')
    })
  }

  async function send(user: UserId, pusher: StoredPusher, body: Message['body']): Promise<void> {
    const url = stringAt(pusher.data, 'url') ?? ''
    const rejected = await slots.run(new URL(url).origin, () =>
      pushGateways.notify(url, body, stopping.signal),
    )
    if (!rejected.includes(pusher.pushkey)) return
    logger.info({ user, app: pusher.appId }, 'push key rejected')
    await pushers.delete(user, pusher.appId, pusher.pushkey)
  }

  async function messageFor(
    user: UserId,
    pusher: StoredPusher,
    push: Push,
    isLate: boolean,
  ): Promise<Message | undefined> {
    const event = isLate ? await asItIsNow(push) : push.event
    if (event === undefined || !(await isNews(user, { ...push, event }, isLate))) return undefined
    const count = await badgeOf(user)
    const options = { ...needs, includesContent: needs.settings.includesContent }
    return {
      body: await eventMessage(options, user, pusher, { ...push, event }, count),
      unread: count,
    }
  }

  /** What was redacted while the gateway did not answer is not told any more. */
  async function asItIsNow({ event }: Push) {
    const id = event.pdu.eventId
    const now = (await needs.events.get([id])).get(id)
    return now?.redactedBy === undefined ? now : undefined
  }

  /** Is it still unread; an invite, not answered. */
  async function isNews(user: UserId, { event, position }: Push, isLate: boolean) {
    const { roomId, type, stateKey } = event.pdu
    if (type === 'm.room.member' && stateKey === user) {
      return (await memberships.ofUser(user)).get(roomId)?.membership === 'invite'
    }
    const thread = (await threadRootOf(needs.events, event)) ?? mainThread
    const counts = (await unread.of(user, [roomId])).get(roomId)
    const count = thread === 'main' ? counts?.main : counts?.threads.get(thread)
    if ((count?.notify ?? 0) <= 0) return false
    if (!isLate) return true
    const floors = await unread.readUpTo(roomId, user)
    return position > Math.max(floors.get('') ?? 0, floors.get(thread) ?? 0)
  }

  async function badgeFor(
    user: UserId,
    pusher: StoredPusher,
    before: number | undefined,
  ): Promise<Message | undefined> {
    if (keepsOwnBadge(pusher)) return undefined
    const count = await badgeOf(user)
    return count === before ? undefined : { body: badgeMessage(pusher, count), unread: count }
  }

  /** Rooms with something unread (or everything that is), and invites. */
  async function badgeOf(user: UserId): Promise<number> {
    let count = 0
    for (const { membership, forgotten, sender } of (await memberships.ofUser(user)).values()) {
      if (membership !== 'invite' || forgotten) continue
      if (await needs.wantsInvite(user, sender)) count += 1
    }
    for (const notify of (await unread.byRoom(user)).values()) {
      count += needs.settings.countsRooms ? 1 : notify
    }
    return count
  }

  async function lanesOf(user: UserId): Promise<Lane[]> {
    const list = await pushers.list(user)
    return list
      .filter(({ kind, enabled }) => kind === 'http' && enabled)
      .map(({ appId, pushkey }) => laneOf(user, appId, pushkey))
  }

  return {
    async add(user, push) {
      for (const lane of await lanesOf(user)) {
        lane.add(push)
        run(lane)
      }
    },
    async checkBadge(user) {
      // They go out with the next tick: many receipts in a row make one message.
      for (const lane of await lanesOf(user)) lane.checkBadge()
    },
    changed(user) {
      for (const key of keysOf.get(user) ?? []) {
        const lane = lanes.get(key)
        lane?.forgetLag()
        if (lane !== undefined) run(lane)
      }
    },
    runDue(isMine) {
      for (const [key, lane] of lanes) {
        if (!isMine(lane.user)) drop(key, lane.user)
        else if (lane.isDue()) run(lane)
      }
    },
    async takeOver(isMine) {
      for (const row of await queries.behindPushers(db, behindMax)) {
        // A pusher that is in memory knows better.
        if (!isMine(row.user_id) || lanes.has(keyOf(row))) continue
        laneOf(row.user_id, row.app_id, row.pushkey).resume({
          behindFrom: row.behind_from,
          failingSince: row.failing_since,
          failures: row.failures,
          nextTryAt: row.next_try_at,
        })
      }
    },
    unstored() {
      let oldest = Number.POSITIVE_INFINITY
      for (const lane of lanes.values()) oldest = Math.min(oldest, lane.unstored ?? oldest)
      return oldest
    },
    async [Symbol.asyncDispose]() {
      // What is under way is stored as not delivered, and goes out after the next start.
      stopping.abort()
      await Promise.allSettled([...lanes.values()].map((lane) => lane.settled()))
    },
  }
}

function keyOf({ user_id, app_id, pushkey }: queries.PusherKey): string {
  return JSON.stringify([user_id, app_id, pushkey])
}
