import { isRoomId, isUserId, type RoomId, type UserId } from '../../../spec/ids.ts'

/** The key of a cache by room. */
export function roomKey(key: string): RoomId {
  if (!isRoomId(key)) throw new Error('the key of a cache is not a room id')
  return key
}

/** The key of a cache by user. */
export function userKey(key: string): UserId {
  if (!isUserId(key)) throw new Error('the key of a cache is not a user id')
  return key
}
