import type { RoomId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'

/** Newest live events looked at for one of certain types. */
const typedEventsMax = 500

/** The position of each room's newest live event, and of the newest of certain types among the last few. */
export async function activityOf(
  db: Db,
  rooms: readonly RoomId[],
  types: readonly string[],
): Promise<{ room_id: RoomId; last: number | null; bump: number | null }[]> {
  return await db`
    select w.room_id,
      (select e.position from events e where e.room_id = w.room_id and e.position > 0
       order by e.position desc limit 1) as last,
      (select n.position from (
         select e.position, e.type from events e where e.room_id = w.room_id and e.position > 0
         order by e.position desc limit ${typedEventsMax}) n
       where n.type = any(${types}::text[]) order by n.position desc limit 1) as bump
    from unnest(${rooms}::text[]) as w(room_id)`
}
