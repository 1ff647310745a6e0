import type { Db } from '../database/database.ts'

/** Snapshots of a room that nothing is known to need any more. */
export async function freedRoots(db: Db, room: string, limit: number): Promise<number[]> {
  const rows = await db<{ root: number }>`
    select root from freed_roots where room_id = ${room} limit ${limit}`
  return rows.map(({ root }) => root)
}

export async function deleteFreedRoots(
  db: Db,
  room: string,
  roots: readonly number[],
): Promise<void> {
  await db.query('delete from freed_roots where room_id = $1 and root = any($2::bigint[])', [
    room,
    roots,
  ])
}

/** Snapshots that events of a room, or its head, refer to. */
export async function rootsOfRoom(db: Db, room: string): Promise<number[]> {
  const rows = await db<{ root: number }>`
    select state_before as root from events where room_id = ${room} and position is not null
    union select state_after from events where room_id = ${room} and position is not null
    union select state_before from events where room_id = ${room} and position is null
    union select state_after from events where room_id = ${room} and position is null
    union select state_root from rooms where room_id = ${room}`
  return rows.map(({ root }) => root).filter((root) => root > 0)
}
