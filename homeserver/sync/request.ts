import { invalidParam, MatrixError } from '../../spec/errors.ts'
import type { DeviceId, RoomId, UserId } from '../../spec/ids.ts'
import type { Filter } from '../../spec/sync/filter.ts'
import { formatSyncToken, parseSyncToken } from '../../spec/sync/token.ts'
import type { Position } from '../stream/log.ts'

/** How typing and presence stand: stamps of one process, and when they were read. */
export interface Stamps {
  readonly typing: number
  readonly presence: number
}

/** Where a sync left off, in terms of this process. */
export interface Since extends Stamps {
  readonly position: Position
  readonly toDevice: Position
}

/** What the state at the timeline's end is called; the second by those who asked for it while it was a proposal. */
export type StateAfterName = 'state_after' | 'org.matrix.msc4222.state_after'

/** What is asked for, after parsing; the same for the whole life of a request. */
export interface Asked {
  readonly user: UserId
  readonly device: DeviceId | undefined
  readonly filter: Filter
  readonly fullState: boolean
  readonly useStateAfter: boolean
  readonly stateAfterName?: StateAfterName
}

/** One composition of an answer: what happened after `since` (everything, without) and not after `upTo`. */
export interface Scope extends Asked {
  readonly since: Since | undefined
  readonly upTo: Position
  readonly stamps: Stamps
  /** May somebody's presence have changed since. */
  readonly hasPresence: boolean
  /** Users of whom nothing is to be heard but state. */
  readonly ignored: ReadonlySet<UserId>
}

/**
 * What another process told at a time, this one may have learnt that much later or earlier (messages under way, clocks
 * apart), in ms: typing and presence of that time are told again.
 */
const stampSkewMs = 500

/** Reads a token that any process of this instance made. Throws M_INVALID_PARAM. */
export function readSince(text: string, self: string): Since {
  const { position, toDevice, ephemeral } = parseSyncToken(text)
  if (toDevice > position) throw invalidParam('since', 'not a sync token of this server')
  const [maker, ...numbers] = ephemeral.split('.')
  const [typing = 0, presence = 0, at = 0] = numbers.map(stampFrom)
  if (maker === self) return { position, toDevice, typing, presence }
  const then = Math.max(0, at - stampSkewMs)
  return { position, toDevice, typing: then, presence: then }
}

/** The token of what was seen; `now` is when the stamps were read. */
export function writeToken(
  { position, toDevice, typing, presence }: Since,
  self: string,
  now: number,
): string {
  const ephemeral = [self, ...[typing, presence, now].map((n) => n.toString(36))].join('.')
  return formatSyncToken({ position, toDevice, ephemeral })
}

/** A token that this process cannot serve yet; the client comes back with it. */
export function tooFarAhead(): MatrixError {
  return new MatrixError('M_UNKNOWN', 'since: this server has not got so far yet', { status: 503 })
}

function stampFrom(text: string): number {
  const stamp = Number.parseInt(text, 36)
  return Number.isSafeInteger(stamp) && stamp > 0 ? stamp : 0
}

/** A room and what to show of it. */
export interface RoomInterval {
  readonly room: RoomId
  /** Timeline events after this are new; 0 for a room that the client does not have. */
  readonly after: Position
  readonly upTo: Position
  /** The client has no state of the room, or asked for all of it. */
  readonly isWhole: boolean
}
