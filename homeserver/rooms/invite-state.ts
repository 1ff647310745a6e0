import type { RoomId, UserId } from '../../spec/ids.ts'
import { isObject, type JsonObject } from '../../spec/json.ts'
import type { Db } from '../database/database.ts'
import { strippedStateOf } from './queries.ts'

/** What another server told of a room with its invite, or in answer to a knock; nothing when it told nothing. */
export async function readStrippedState(
  db: Db,
  room: RoomId,
  user: UserId,
): Promise<readonly JsonObject[]> {
  const text = await strippedStateOf(db, room, user)
  const events: unknown = text === undefined ? [] : JSON.parse(text)
  return Array.isArray(events) ? events.filter(isObject) : []
}
