/**
 * Owns what tells users that something happened: push rules, where to push, and the counts of what is unread.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#push-notifications}
 */
import type { RoomId, UserId } from '../../spec/ids.ts'
import { readStrippedState } from '../rooms/invite-state.ts'
import {
  createNotified,
  type NotifiedNeeds,
  type NotifiedPage,
  type NotifiedQuery,
} from './notified.ts'
import type { PushRules } from './push-rules.ts'
import { createPushers, type Pushers, type PushersNeeds } from './pushers.ts'
import { createPushing, type PushingNeeds } from './pushing.ts'
import { createUnreadCounts, type Unread, type UnreadNeeds } from './unread.ts'

export interface Notifications extends AsyncDisposable {
  readonly rules: PushRules
  readonly pushers: Pushers
  /** Counts of the user's unread notifications, for each of the rooms. */
  unreadCounts(user: UserId, rooms: readonly RoomId[]): Promise<ReadonlyMap<RoomId, Unread>>
  /** What the user was notified of, the newest first. */
  notified(user: UserId, query: NotifiedQuery): Promise<NotifiedPage>
  /** Begins to push; after the tail. */
  start(): void
}

export type NotificationsNeeds = Omit<UnreadNeeds, 'log'> &
  Omit<NotifiedNeeds, 'unread'> &
  Omit<PushersNeeds, 'log'> &
  Omit<PushingNeeds, 'unread' | 'pushers' | 'strippedState'> & {
    readonly pushRules: PushRules
    readonly writer: PushersNeeds['log']
  }

/** `pushRules` is built before, because account data shows the rules. */
export function createNotifications(needs: NotificationsNeeds): Notifications {
  const { logger, writer } = needs
  const unread = createUnreadCounts({ ...needs, log: logger })
  const pushers = createPushers({ ...needs, log: writer })
  const strippedState = (room: RoomId, user: UserId) => readStrippedState(needs.db, room, user)
  const pushing = createPushing({ ...needs, unread, pushers, strippedState })
  return {
    rules: needs.pushRules,
    pushers,
    unreadCounts: unread.of,
    notified: createNotified({ ...needs, unread }),
    start: pushing.start,
    async [Symbol.asyncDispose]() {
      await pushing[Symbol.asyncDispose]()
      await unread[Symbol.asyncDispose]()
    },
  }
}
