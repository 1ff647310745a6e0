import type { RoomId, UserId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'

export async function findPushRules(
  db: Db,
  user: UserId,
): Promise<{ rules: string; position: number } | undefined> {
  const [row] = await db<{ rules: string; position: number }>`
    select rules, position from push_rules where user_id = ${user}`
  return row
}

export async function usersWithPushRules(db: Db): Promise<{ user_id: UserId }[]> {
  return await db`select user_id from push_rules`
}

export interface UnreadRow {
  readonly room_id: RoomId
  readonly user_id: UserId
  readonly thread_id: string
  readonly notify: number
  readonly highlight: number
}

export async function unreadOf(db: Db, room: RoomId): Promise<UnreadRow[]> {
  return await db<UnreadRow>`
    select room_id, user_id, thread_id, notify, highlight from unread where room_id = ${room}`
}

/** Stored counts of a user by room; they lag behind by seconds. */
export async function unreadByRoom(
  db: Db,
  user: UserId,
): Promise<{ room_id: RoomId; notify: number }[]> {
  return await db<{ room_id: RoomId; notify: number }>`
    select room_id, sum(notify)::int as notify from unread where user_id = ${user} group by room_id`
}

/** Position up to which the room's events are counted. */
export async function countedTo(db: Db, room: RoomId): Promise<number | undefined> {
  const [row] = await db<{ counted_to: number }>`
    select counted_to from unread_rooms where room_id = ${room}`
  return row?.counted_to
}

/** Replaces the rows of these users; does nothing when a later count is stored. */
export async function storeUnread(
  db: Db,
  room: RoomId,
  to: number,
  users: readonly UserId[],
  rows: readonly Omit<UnreadRow, 'room_id'>[],
): Promise<void> {
  await db`
    with room as (
      insert into unread_rooms as r (room_id, counted_to) values (${room}, ${to})
      on conflict (room_id) do update set counted_to = excluded.counted_to where r.counted_to < excluded.counted_to
      returning room_id),
    gone as (
      delete from unread u using room r
      where u.room_id = r.room_id and u.user_id = any(${users}::text[])
        and (u.user_id, u.thread_id) not in (
          select user_id, thread_id from unnest(${rows.map((u) => u.user_id)}::text[],
            ${rows.map((u) => u.thread_id)}::text[]) as k(user_id, thread_id)))
    insert into unread (room_id, user_id, thread_id, notify, highlight)
    select r.room_id, n.user_id, n.thread_id, n.notify, n.highlight
    from room r cross join unnest(${rows.map((u) => u.user_id)}::text[], ${rows.map((u) => u.thread_id)}::text[],
      ${rows.map((u) => u.notify)}::int[], ${rows.map((u) => u.highlight)}::int[]) as n(user_id, thread_id, notify, highlight)
    on conflict (room_id, user_id, thread_id) do update set notify = excluded.notify, highlight = excluded.highlight`
}
