import type { EventId, RoomId, UserId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'

/** A row of `receipts`; `thread_id` is empty for a receipt of the whole room. */
export interface ReceiptRow {
  readonly room_id: RoomId
  readonly user_id: UserId
  readonly type: string
  readonly thread_id: string
  readonly event_id: EventId
  readonly ts: number
  readonly position: number
}

/** The newest `limit` receipts of each room with after < position <= upTo that `viewer` may see. */
export async function receiptsBetween(
  db: Db,
  rooms: readonly RoomId[],
  range: { after: number; upTo: number; viewer: UserId; limit: number },
): Promise<ReceiptRow[]> {
  return await db<ReceiptRow>`
    select r.room_id, r.user_id, r.type, r.thread_id, r.event_id, r.ts, r.position
    from unnest(${rooms}::text[]) as w(room_id) cross join lateral (
      select * from receipts o where o.room_id = w.room_id
        and o.position > ${range.after} and o.position <= ${range.upTo}
        and (o.type <> 'm.read.private' or o.user_id = ${range.viewer})
      order by o.position desc limit ${range.limit}) r
    order by r.position`
}

/** Receipts in these rooms on any of the events, and the viewer's own, with position <= upTo. */
export async function receiptsOnEvents(
  db: Db,
  rooms: readonly RoomId[],
  events: readonly string[],
  { upTo, viewer }: { upTo: number; viewer: UserId },
): Promise<ReceiptRow[]> {
  return await db<ReceiptRow>`
    select r.room_id, r.user_id, r.type, r.thread_id, r.event_id, r.ts, r.position
    from receipts r
    where r.event_id = any(${events}::text[]) and r.room_id = any(${rooms}::text[])
      and r.user_id <> ${viewer} and r.type <> 'm.read.private' and r.position <= ${upTo}
    union all
    select r.room_id, r.user_id, r.type, r.thread_id, r.event_id, r.ts, r.position
    from receipts r
    where r.room_id = any(${rooms}::text[]) and r.user_id = ${viewer} and r.position <= ${upTo}
    order by position`
}

export async function receiptsOfUser(db: Db, room: RoomId, user: UserId): Promise<ReceiptRow[]> {
  return await db<ReceiptRow>`
    select room_id, user_id, type, thread_id, event_id, ts, position from receipts
    where room_id = ${room} and user_id = ${user}`
}

export async function receiptsOfUsers(
  db: Db,
  room: RoomId,
  users: readonly UserId[],
): Promise<ReceiptRow[]> {
  return await db<ReceiptRow>`
    select room_id, user_id, type, thread_id, event_id, ts, position from receipts
    where room_id = ${room} and user_id = any(${users}::text[])`
}

/** Who moved a receipt in the room after a position. */
export async function usersSince(
  db: Db,
  room: RoomId,
  after: number,
): Promise<{ user_id: UserId }[]> {
  return await db`
    select distinct user_id from receipts where room_id = ${room} and position > ${after}`
}
