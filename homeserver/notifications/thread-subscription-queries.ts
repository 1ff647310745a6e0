import type { EventId, RoomId, UserId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'

/** A row of `thread_subscriptions`. */
export interface ThreadSubscriptionRow {
  readonly room_id: RoomId
  readonly root: EventId
  readonly subscribed: boolean
  readonly automatic: boolean
  readonly depth: number
  readonly position: number
}

export async function findThreadSubscription(
  db: Db,
  user: UserId,
  room: RoomId,
  root: EventId,
): Promise<ThreadSubscriptionRow | undefined> {
  const [row] = await db<ThreadSubscriptionRow>`
    select room_id, root, subscribed, automatic, depth, position from thread_subscriptions
    where user_id = ${user} and room_id = ${room} and root = ${root}`
  return row
}

/** The newest `limit` with after < position <= upTo; the oldest of them first. */
export async function threadSubscriptionsBetween(
  db: Db,
  user: UserId,
  range: { readonly after: number; readonly upTo: number; readonly limit: number },
): Promise<ThreadSubscriptionRow[]> {
  const rows = await db<ThreadSubscriptionRow>`
    select room_id, root, subscribed, automatic, depth, position from thread_subscriptions
    where user_id = ${user} and position > ${range.after} and position <= ${range.upTo}
    order by position desc limit ${range.limit}`
  return rows.reverse()
}

export async function countThreadSubscriptions(db: Db, user: UserId): Promise<number> {
  const [row] = await db<{ count: number }>`
    select count(*)::int as count from thread_subscriptions where user_id = ${user}`
  return row?.count ?? 0
}

/** Who is subscribed to a thread. */
export async function subscribersOf(
  db: Db,
  room: string,
  root: string,
): Promise<{ user_id: UserId }[]> {
  return await db`
    select user_id from thread_subscriptions
    where room_id = ${room} and root = ${root} and subscribed`
}
