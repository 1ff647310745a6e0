import type { EventId, RoomId, UserId } from '../ids.ts'
import type { JsonObject } from '../json.ts'

/**
 * A persistent event as it is reasoned about, whatever its room version: parsed once, checked against the room
 * version's format, immutable. `json` is the event as it was signed; only it is hashed, stored and sent.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#pdus}
 */
export interface Pdu {
  readonly eventId: EventId
  /** For the create event of room version 12 this is the id made from its own hash. */
  readonly roomId: RoomId
  readonly sender: UserId
  readonly type: string
  /** Absent for message events; may be the empty string. */
  readonly stateKey?: string
  readonly content: JsonObject
  readonly depth: number
  /** Milliseconds since the epoch, a claim of the origin. */
  readonly originServerTs: number
  readonly prevEvents: readonly EventId[]
  readonly authEvents: readonly EventId[]
  /** The event this one redacts, from wherever its room version keeps it. */
  readonly redacts?: EventId
  readonly unsigned?: JsonObject
  /** The parsed original with hashes and signatures, without `unsigned`, which nobody has signed. */
  readonly json: JsonObject
  /** Canonical JSON of `json`, the form to store and send; absent on an event that was built by hand. */
  readonly text?: string
}

/** The key under which a state event lives in a room's state. */
export type StateKey = `${string}\u0000${string}`

/** Makes the key of (type, state key); NUL cannot be confused with a type's own characters by accident. */
export function stateKeyOf(type: string, key: string): StateKey {
  return `${type}\u0000${key}`
}
