import { badJson, MatrixError } from '../errors.ts'
import type { Pdu } from '../events/event.ts'
import {
  type EventId,
  idBytesMax,
  isEventId,
  isRoomId,
  isUserId,
  isWithin,
  type RoomId,
  serverOfEventId,
  serverOfRoom,
  type UserId,
} from '../ids.ts'
import { isObject, type Json, type JsonObject } from '../json.ts'
import type { RoomVersionRules } from './version.ts'

/** Most events that one may name as its predecessors. {@link https://spec.matrix.org/v1.19/rooms/v12/#event-format} */
export const prevEventsMax = 20
/** Most events that one may name as its authority. */
export const authEventsMax = 10

/** What is read from an event's members; the id, and the room of a v12 create event, come from its hash. */
export type EventFields = Omit<Pdu, 'eventId' | 'roomId' | 'json' | 'text' | 'unsigned'> & {
  /** Absent on the create event from room version 12 on. */
  readonly roomId?: RoomId
}

/**
 * Reads and checks the members that every event has, but for hashes and signatures.
 * {@link https://spec.matrix.org/v1.19/rooms/v12/#event-format}
 * @throws MatrixError M_BAD_JSON naming the field; M_TOO_LARGE when one is over its limit.
 */
export function readFields(json: JsonObject, rules: RoomVersionRules): EventFields {
  const type = shortText(json, 'type', rules)
  const roomId = readRoomId(json, type, rules)
  const redacts = readRedacts(json, type, rules)
  const fields: { -readonly [K in keyof EventFields]: EventFields[K] } = {
    sender: readSender(json),
    type,
    content: readContent(json),
    depth: readInteger(json, 'depth', rules),
    originServerTs: readInteger(json, 'origin_server_ts', rules),
    prevEvents: readEventIds(json, 'prev_events', prevEventsMax, rules),
    authEvents: readEventIds(json, 'auth_events', authEventsMax, rules),
  }
  if (fields.depth < 0) throw badJson('depth', 'is negative')
  if (json['state_key'] !== undefined) fields.stateKey = shortText(json, 'state_key', rules)
  if (roomId !== undefined) fields.roomId = roomId
  if (redacts !== undefined) fields.redacts = redacts
  return fields
}

/** The id that an event of room versions 1 and 2 carries. @throws MatrixError M_BAD_JSON */
export function readEventId(json: JsonObject): EventId {
  const id = json['event_id']
  if (isEventId(id) && serverOfEventId(id) !== undefined) return id
  throw wrongId('event_id', id, 'an event id with a server name')
}

function readSender(json: JsonObject): UserId {
  const sender = json['sender']
  if (isUserId(sender)) return sender
  throw wrongId('sender', sender, 'a user id')
}

function readRoomId(json: JsonObject, type: string, rules: RoomVersionRules): RoomId | undefined {
  const id = json['room_id']
  if (!rules.createHashRoomId) {
    if (isRoomId(id) && serverOfRoom(id) !== undefined) return id
    throw wrongId('room_id', id, 'a room id with a server name')
  }
  if (type !== 'm.room.create') {
    if (isRoomId(id) && hashRoomId.test(id)) return id
    throw wrongId('room_id', id, 'the hash of a create event')
  }
  // v12+: the room id of the create event is made from its hash and cannot be in it
  if (id !== undefined) throw badJson('room_id', 'must not be on a create event')
  if (json['state_key'] !== '') throw badJson('state_key', 'must be empty on a create event')
  return undefined
}

function readContent(json: JsonObject): JsonObject {
  const content = json['content']
  if (isObject(content)) return content
  throw badJson('content', 'must be an object')
}

/** v1–10: a top-level member of redaction events; v11+: in content, where its shape is no matter of format. */
function readRedacts(json: JsonObject, type: string, rules: RoomVersionRules): EventId | undefined {
  if (type !== 'm.room.redaction') return undefined
  const { content } = json
  const id = rules.redactsInContent ? isObject(content) && content['redacts'] : json['redacts']
  if (isEventId(id)) return id
  if (rules.redactsInContent || id === undefined) return undefined
  throw wrongId('redacts', id, 'an event id')
}

/**
 * v6+: canonical JSON limits integers to ±(2^53-1). Before, they are 64 bits wide; what JavaScript cannot hold is
 * clamped, since nothing but the order of such claims matters.
 */
function readInteger(json: JsonObject, key: string, rules: RoomVersionRules): number {
  const value = json[key]
  if (typeof value !== 'number' || !Number.isInteger(value))
    throw badJson(key, 'must be an integer')
  if (Number.isSafeInteger(value)) return value
  if (rules.strictCanonicalJson || Math.abs(value) > 2 ** 63) throw badJson(key, 'is out of range')
  return Math.sign(value) * Number.MAX_SAFE_INTEGER
}

function readEventIds(
  json: JsonObject,
  key: 'prev_events' | 'auth_events',
  countMax: number,
  rules: RoomVersionRules,
): readonly EventId[] {
  const list: unknown = json[key]
  if (!Array.isArray(list)) throw badJson(key, 'must be an array')
  if (list.length > countMax) throw badJson(key, `must have at most ${countMax} entries`)
  const ids: unknown[] =
    rules.eventFormat === 'pair' ? list.map((pair) => firstOf(pair, key)) : list
  if (ids.every(isEventId)) return ids
  throw badJson(key, 'must hold event ids')
}

/** v1–2: `[event id, {"sha256": hash}]` */
function firstOf(pair: unknown, key: string): unknown {
  if (Array.isArray(pair) && pair.length === 2 && isObject(pair[1])) return pair[0]
  throw badJson(key, 'must hold pairs of an event id and its hashes')
}

function shortText(
  json: JsonObject,
  key: 'type' | 'state_key',
  { sizesInBytes }: RoomVersionRules,
): string {
  const value = json[key]
  if (typeof value !== 'string') throw badJson(key, 'must be a string')
  const isShort = isWithin(value, idBytesMax) || (!sizesInBytes && countIsWithin(value, idBytesMax))
  if (!isShort) throw tooLong(key)
  return value
}

/** Has the text at most so many code points, of which each is one or two units. */
function countIsWithin(text: string, countMax: number): boolean {
  return text.length <= countMax * 2 && [...text].length <= countMax
}

function wrongId(field: string, value: Json | undefined, what: string): MatrixError {
  const isLong = typeof value === 'string' && !isWithin(value, idBytesMax)
  return isLong ? tooLong(field) : badJson(field, `must be ${what}`)
}

function tooLong(field: string): MatrixError {
  return new MatrixError('M_TOO_LARGE', `${field}: must be at most ${idBytesMax} bytes`)
}

const hashRoomId = /^![A-Za-z0-9_-]{43}$/
