import type { Db } from '../database/database.ts'

/** Texts of nodes by number. */
export async function nodesOf(db: Db, ids: readonly number[]): Promise<Map<number, string>> {
  const rows = await db.query<{ id: number; slots: string }>(
    'select id, slots from state_nodes where id = any($1::bigint[])',
    [ids],
  )
  return new Map(rows.map(({ id, slots }) => [id, slots]))
}

/** Events of a room's current state. */
export async function currentStateOf(
  db: Db,
  room: string,
): Promise<{ type: string; state_key: string; event_nr: number }[]> {
  return await db`select type, state_key, event_nr from current_state where room_id = ${room}`
}

/** Events of the current state of rooms, of certain types and with an empty state key. */
export async function currentStateOfTypes(
  db: Db,
  rooms: readonly string[],
  types: readonly string[],
): Promise<{ room_id: string; type: string; event_nr: number }[]> {
  return await db`
    select room_id, type, event_nr from current_state
    where room_id = any(${rooms}::text[]) and type = any(${types}::text[]) and state_key = ''`
}

/** Deletes nodes. */
export async function deleteNodes(db: Db, ids: readonly number[]): Promise<void> {
  await db.query('delete from state_nodes where id = any($1::bigint[])', [ids])
}

/** Forgets a room's current state. */
export async function deleteCurrentState(db: Db, room: string): Promise<void> {
  await db`delete from current_state where room_id = ${room}`
}
