import type { RoomId, UserId } from '../../../spec/ids.ts'

/**
 * What a client asks of simplified sliding sync, whichever way it is written down.
 * {@link https://github.com/matrix-org/matrix-spec-proposals/pull/4186}
 */
export interface SlidingRequest {
  readonly dialect: Dialect
  readonly connId: string
  /** Absent in the first request of a connection. */
  readonly pos?: string
  /** Of no meaning without `pos`. */
  readonly timeoutMs: number
  readonly setPresence: 'offline' | 'online' | 'unavailable'
  readonly lists: ReadonlyMap<string, ListRule>
  readonly subscriptions: ReadonlyMap<RoomId, RoomRule>
  readonly extensions: Extensions
}

/** `unstable` is what clients spoke while it was a proposal, `final` what the proposal came to. */
export type Dialect = 'unstable' | 'final'

/** What to send of a room. */
export interface RoomRule {
  readonly timelineLimit: number
  /** A state event is sent when any of these asks for it. */
  readonly required: readonly RequiredState[]
}

export interface ListRule extends RoomRule {
  /** First and last index of each window; all rooms when absent. */
  readonly ranges?: readonly (readonly [first: number, last: number])[]
  readonly filters: ListFilters
}

/** State events that are asked for, but for those that are not. */
export interface RequiredState {
  readonly include: readonly StatePattern[]
  readonly exclude: readonly StatePattern[]
  /** Members are sent when they are needed to show the timeline, unless they are asked for by name. */
  readonly lazyMembers: boolean
}

/** What is left out matches everything. */
export interface StatePattern {
  readonly type?: string
  readonly stateKey?: string
}

/** What is left out matches every room. */
export interface ListFilters {
  readonly isDm?: boolean
  readonly spaces?: readonly string[]
  readonly isEncrypted?: boolean
  readonly isInvited?: boolean
  readonly roomTypes?: readonly (string | null)[]
  readonly notRoomTypes?: readonly (string | null)[]
  readonly roomNameLike?: string
  readonly tags?: readonly string[]
  readonly notTags?: readonly string[]
}

/** Extensions that are enabled. */
export interface Extensions {
  readonly toDevice?: { readonly since?: number; readonly limit: number }
  readonly e2ee?: Record<never, never>
  readonly accountData?: RoomSelection
  readonly receipts?: RoomSelection
  readonly typing?: RoomSelection
  readonly threadSubscriptions?: { readonly limit: number }
}

/** Rooms that an extension is about: those of lists, by name, and of subscriptions; `*` is all of them. */
export interface RoomSelection {
  readonly lists: readonly string[]
  readonly rooms: readonly string[]
}

export const slidingLimits = {
  /** Events of one room in one answer; who asks for more gets as many. */
  timelineMax: 100,
  /** Rooms in one answer; the others come in the next. */
  roomsPerAnswer: 1_000,
  /** Characters of the rooms of one answer, by about a room; the others come in the next. */
  charactersPerAnswer: 16_000_000,
  /** Rooms read at a time. */
  roomsAtOnce: 8,
  /** To-device messages of one answer. */
  toDeviceMax: 100,
  /** Changes of thread subscriptions of one answer. */
  threadSubscriptionsMax: 100,
  /** Connections of one device; the one that was longest without a change goes first. */
  connectionsPerDevice: 16,
  /** Answers of one connection that the client may not have received. */
  unconfirmedPositions: 8,
  /** How long a connection is remembered that nobody uses, in ms. */
  connectionMs: 30 * 24 * 3_600_000,
} as const

/** Names the user in a rule that says `$ME`. */
export function ownKey(stateKey: string, user: UserId): string {
  return stateKey === '$ME' ? user : stateKey
}
