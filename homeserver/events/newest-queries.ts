import type { RoomId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'

/** Numbers of the newest live events of these rooms together that are before a position, newest first. */
export async function newestEvents(
  db: Db,
  rooms: readonly RoomId[],
  { before, limit }: { before: number; limit: number },
): Promise<number[]> {
  // Positions first, from the index alone: of what all rooms offer, most is not taken.
  const rows = await db<{ nr: number }>`
    with newest as (
      select r.room_id, e.position from unnest(${rooms}::text[]) as r(room_id)
      cross join lateral (
        select position from events where room_id = r.room_id and position > 0 and position < ${before}
        order by position desc limit ${limit}) as e
      order by e.position desc limit ${limit})
    select e.nr from newest n join events e on e.room_id = n.room_id and e.position = n.position
    order by e.position desc`
  return rows.map(({ nr }) => nr)
}
