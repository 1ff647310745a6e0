import type { RoomId, UserId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'

export async function findNoticeRoom(db: Db, user: UserId): Promise<RoomId | undefined> {
  const [row] = await db<{ room_id: RoomId }>`
    select room_id from notice_rooms where user_id = ${user}`
  return row?.room_id
}

export async function setNoticeRoom(db: Db, user: UserId, room: RoomId): Promise<void> {
  await db`
    insert into notice_rooms (user_id, room_id) values (${user}, ${room})
    on conflict (user_id) do update set room_id = excluded.room_id`
}
