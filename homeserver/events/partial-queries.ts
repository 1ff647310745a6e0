import type { Db } from '../database/database.ts'

interface PartialRoomRow {
  readonly room_id: string
  readonly join_id: string
  readonly origin: string
  readonly servers: string[]
  readonly completed: number | null
}

/** Which rooms came without members, and when they became complete. */
export async function partialRooms(
  db: Db,
): Promise<Pick<PartialRoomRow, 'room_id' | 'completed'>[]> {
  return await db<Pick<PartialRoomRow, 'room_id' | 'completed'>>`
    select room_id, completed from partial_rooms`
}

export async function partialRoom(db: Db, room: string): Promise<PartialRoomRow | undefined> {
  const [row] = await db<PartialRoomRow>`
    select room_id, join_id, origin, servers, completed from partial_rooms where room_id = ${room}`
  return row
}

export interface PartialEventRow {
  readonly nr: number
  readonly seq: number
  readonly given: number[] | null
}

/** Events with a place from an incomplete state, in their order. */
export async function partialEvents(
  db: Db,
  room: string,
  after: number,
  limit: number,
): Promise<PartialEventRow[]> {
  return await db<PartialEventRow>`
    select nr, seq, given from partial_events where room_id = ${room} and seq > ${after}
    order by seq limit ${limit}`
}

interface KeyedRow {
  readonly nr: number
  readonly type: string
  readonly state_key: string
}

export async function stateKeysByNumber(db: Db, nrs: readonly number[]): Promise<KeyedRow[]> {
  return await db.query(
    'select nr, type, state_key from events where nr = any($1::bigint[]) and state_key is not null',
    [nrs],
  )
}
