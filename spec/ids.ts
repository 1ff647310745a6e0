import { z } from 'zod'
import { invalidParam } from './errors.ts'

/**
 * Branded identifiers. A value of these types has been checked against the grammar of the specification
 * {@link https://spec.matrix.org/v1.19/appendices/#identifier-grammar}; it is parsed once, at the border.
 */
declare const brand: unique symbol
type Branded<T extends string> = string & { readonly [brand]: T }

/** `@local:server`, at most 255 bytes, historical local parts included. */
export type UserId = Branded<'UserId'>
/** `!opaque:server`, or `!hash` from room version 12 on. */
export type RoomId = Branded<'RoomId'>
/** `$opaque:server` (room versions 1, 2) or `$hash`. */
export type EventId = Branded<'EventId'>
/** `#local:server`. */
export type RoomAlias = Branded<'RoomAlias'>
/** Host name or address with an optional port. */
export type ServerName = Branded<'ServerName'>
/** Opaque, chosen by the client or the server. */
export type DeviceId = Branded<'DeviceId'>

/** Longest identifier, counted in bytes of UTF-8. */
export const idBytesMax = 255

/** Host name, IPv4 address or bracketed IPv6 address, with an optional port. {@link https://spec.matrix.org/v1.19/appendices/#server-name} */
export function isServerName(input: unknown): input is ServerName {
  return typeof input === 'string' && input.length <= idBytesMax && serverName.test(input)
}

/**
 * A user id as servers must accept it: any local part without `:` and NUL, also an empty one.
 * {@link https://spec.matrix.org/v1.19/appendices/#historical-user-ids}
 */
export function isUserId(input: unknown): input is UserId {
  return isNamed(input, '@')
}

/** A room alias. {@link https://spec.matrix.org/v1.19/appendices/#room-aliases} */
export function isRoomAlias(input: unknown): input is RoomAlias {
  return isNamed(input, '#') && !input.startsWith('#:')
}

/** A room id with a server name (up to room version 11) or without (from 12 on). {@link https://spec.matrix.org/v1.19/appendices/#room-ids} */
export function isRoomId(input: unknown): input is RoomId {
  return isOpaque(input, '!')
}

/** An event id of any room version. {@link https://spec.matrix.org/v1.19/appendices/#event-ids} */
export function isEventId(input: unknown): input is EventId {
  return isOpaque(input, '$')
}

/** A device id: not empty, and short enough to be kept as a key. */
export function isDeviceId(input: unknown): input is DeviceId {
  return typeof input === 'string' && input !== '' && isWithin(input, idBytesMax) && isClean(input)
}

/**
 * May a new account have this local part. Received user ids are not held to it.
 * {@link https://spec.matrix.org/v1.19/appendices/#user-identifiers}
 */
export function isStrictLocalpart(localpart: string): boolean {
  return /^[a-z0-9._=/+-]+$/.test(localpart)
}

/**
 * Has a received user id a local part of visible ASCII. One that has not is accepted in events only, and
 * not shown to clients outside of them. {@link https://spec.matrix.org/v1.19/appendices/#historical-user-ids}
 */
export function isCompliantUserId(user: UserId): boolean {
  return /^@[!-9;-~]+:/.test(user)
}

/** @throws MatrixError M_INVALID_PARAM */
export function parseServerName(input: unknown): ServerName {
  if (isServerName(input)) return input
  throw invalidParam('server_name', 'not a server name')
}

/** @throws MatrixError M_INVALID_PARAM */
export function parseUserId(input: unknown): UserId {
  if (isUserId(input)) return input
  throw invalidParam('user_id', 'not a user id')
}

/** @throws MatrixError M_INVALID_PARAM */
export function parseRoomAlias(input: unknown): RoomAlias {
  if (isRoomAlias(input)) return input
  throw invalidParam('room_alias', 'not a room alias')
}

/** @throws MatrixError M_INVALID_PARAM */
export function parseRoomId(input: unknown): RoomId {
  if (isRoomId(input)) return input
  throw invalidParam('room_id', 'not a room id')
}

/** @throws MatrixError M_INVALID_PARAM */
export function parseEventId(input: unknown): EventId {
  if (isEventId(input)) return input
  throw invalidParam('event_id', 'not an event id')
}

/** @throws MatrixError M_INVALID_PARAM */
export function parseDeviceId(input: unknown): DeviceId {
  if (isDeviceId(input)) return input
  throw invalidParam('device_id', 'not a device id')
}

/**
 * Joins a local part and a server.
 * @throws MatrixError M_INVALID_PARAM when the result is too long or the local part has a colon or NUL.
 */
export function makeUserId(localpart: string, server: ServerName): UserId {
  return parseUserId(`@${localpart}:${server}`)
}

/** What stands between the sigil and the first colon. */
export function localpartOf(id: UserId | RoomAlias): string {
  return id.slice(1, id.indexOf(':'))
}

/** The server that made the account. */
export function serverOfUser(user: UserId): ServerName {
  return afterColon<ServerName>(user)
}

/** The server that answers for the alias. */
export function serverOfAlias(alias: RoomAlias): ServerName {
  return afterColon<ServerName>(alias)
}

/** The server in a room id, which says nothing about who is in the room; undefined from room version 12 on. */
export function serverOfRoom(room: RoomId): ServerName | undefined {
  return serverAfterColon(room)
}

/** The server in an event id of room versions 1 and 2; undefined in later ones. */
export function serverOfEventId(event: EventId): ServerName | undefined {
  return serverAfterColon(event)
}

/** The id of an event from room version 3 on. @param hash its reference hash in the version's Base64 */
export function eventIdOfHash(hash: string): EventId {
  return `$${hash}` as EventId
}

/** v12+: the room that a create event makes. {@link https://spec.matrix.org/v1.19/rooms/v12/#event-format} */
export function roomIdOfCreate(create: EventId): RoomId {
  return `!${create.slice(1)}` as RoomId
}

/** v12+: the create event that a room id names. */
export function createIdOfRoom(room: RoomId): EventId {
  return `$${room.slice(1)}` as EventId
}

/** Is the text at most `bytesMax` long in UTF-8. */
export function isWithin(text: string, bytesMax: number): boolean {
  return text.length * 3 <= bytesMax || (text.length <= bytesMax && utf8Length(text) <= bytesMax)
}

/** Length of the text in UTF-8; a lone surrogate counts as the three bytes of its replacement. */
export function utf8Length(text: string): number {
  let bytes = text.length
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code < 0x80) continue
    if (code < 0x800) bytes += 1
    else if (code >= 0xd800 && code < 0xdc00 && isLowSurrogate(text.charCodeAt(at + 1))) {
      bytes += 2
      at++
    } else bytes += 2
  }
  return bytes
}

const serverName =
  /^(?:\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,255})(?::\d{1,5})?$/

/** `sigil local ":" server`. */
function isNamed(input: unknown, sigil: string): input is string {
  if (typeof input !== 'string' || !input.startsWith(sigil) || !isWithin(input, idBytesMax)) {
    return false
  }
  const colon = input.indexOf(':')
  return colon !== -1 && serverName.test(input.slice(colon + 1)) && isClean(input)
}

/** `sigil opaque [ ":" server ]`. The opaque part of a room or event id is never empty. */
function isOpaque(input: unknown, sigil: string): boolean {
  if (typeof input !== 'string' || !input.startsWith(sigil) || !isWithin(input, idBytesMax)) {
    return false
  }
  const colon = input.indexOf(':')
  if (colon === -1) return input.length > 1 && isClean(input)
  return colon > 1 && serverName.test(input.slice(colon + 1)) && isClean(input)
}

/** Neither NUL nor lone surrogates, which no database text or UTF-8 can hold. */
function isClean(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === 0) return false
    if (code < 0xd800 || code > 0xdfff) continue
    if (code >= 0xdc00 || !isLowSurrogate(text.charCodeAt(at + 1))) return false
    at++
  }
  return true
}

function isLowSurrogate(code: number): boolean {
  return code >= 0xdc00 && code <= 0xdfff
}

function serverAfterColon(id: RoomId | EventId): ServerName | undefined {
  return id.includes(':') ? afterColon<ServerName>(id) : undefined
}

/** The id has been parsed, hence what follows its first colon is a server name. */
function afterColon<T extends ServerName>(id: string): T {
  return id.slice(id.indexOf(':') + 1) as T
}

/** A schema that says "string" to readers of JSON Schema and the branded type to the compiler. */
function idSchema<T extends string>(
  is: (input: unknown) => input is T,
  what: string,
): z.ZodType<T, string> {
  const schema = z
    .string()
    .refine(is, { error: `not ${what}` })
    .meta({ description: what })
  return schema as unknown as z.ZodType<T, string>
}

/** Schemas for borders; what comes out is the branded type. */
export const userIdSchema = idSchema(isUserId, 'a user id')
export const roomIdSchema = idSchema(isRoomId, 'a room id')
export const eventIdSchema = idSchema(isEventId, 'an event id')
export const roomAliasSchema = idSchema(isRoomAlias, 'a room alias')
export const serverNameSchema = idSchema(isServerName, 'a server name')
export const deviceIdSchema = idSchema(isDeviceId, 'a device id')
