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
