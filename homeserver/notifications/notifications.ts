/**
 * Owns what tells users that something happened: push rules, where to push, and the counts of what is unread.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#push-notifications}
 */
import type { RoomId, UserId } from '../../spec/ids.ts'
import type { PushRules } from './push-rules.ts'
import { createPushers, type Pushers } from './pushers.ts'
import { createUnreadCounts, type Unread, type UnreadNeeds } from './unread.ts'

export interface Notifications extends AsyncDisposable {
  readonly rules: PushRules
  readonly pushers: Pushers
  /** Counts of the user's unread notifications, for each of the rooms. */
  unreadCounts(user: UserId, rooms: readonly RoomId[]): Promise<ReadonlyMap<RoomId, Unread>>
}

/** `pushRules` is built before, because account data shows the rules. */
export function createNotifications(
  needs: UnreadNeeds & { readonly pushRules: PushRules },
): Notifications {
  const unread = createUnreadCounts(needs)
  return {
    rules: needs.pushRules,
    pushers: createPushers(needs),
    unreadCounts: unread.of,
    [Symbol.asyncDispose]: () => unread[Symbol.asyncDispose](),
  }
}
