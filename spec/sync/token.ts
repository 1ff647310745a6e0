import { invalidParam } from '../errors.ts'

/**
 * Where a sync left off. `ephemeral` is the stamp of typing and presence, which its maker alone understands; it
 * consists of letters, digits, `-`, `.`, `_` and `~`.
 */
export interface SyncToken {
  /** Log position up to which everything was seen. */
  readonly position: number
  /** Log position up to which to-device messages were received. */
  readonly toDevice: number
  readonly ephemeral: string
}

/** A place between events in a room's history: after the event of this depth and arrival, seen forwards. */
export interface HistoryToken {
  readonly depth: number
  /** Order of arrival among events of one depth; negative for what was backfilled. */
  readonly arrival: number
}

/** A token of either kind, as /messages accepts both. */
export type Token =
  | ({ readonly kind: 'sync' } & SyncToken)
  | ({ readonly kind: 'history' } & HistoryToken)

/** Longest token that is looked at. */
const tokenLengthMax = 200

const syncToken = /^s([0-9]{1,16})_([0-9]{1,16})_([A-Za-z0-9._~-]*)$/
const historyToken = /^t([0-9]{1,16})_(-?[0-9]{1,16})$/
const stamp = /^[A-Za-z0-9._~-]*$/

/** `s<position>_<toDevice>_<ephemeral>`, fit for a URL as it is. */
export function formatSyncToken({ position, toDevice, ephemeral }: SyncToken): string {
  const token = `s${position}_${toDevice}_${ephemeral}`
  if (!stamp.test(ephemeral) || token.length > tokenLengthMax) {
    throw new RangeError(`not a stamp for a token: ${ephemeral}`)
  }
  return token
}

/** @throws MatrixError M_INVALID_PARAM for anything that `formatSyncToken` did not make; `field` names the parameter. */
export function parseSyncToken(text: string, field = 'since'): SyncToken {
  const [, position, toDevice, ephemeral] = match(syncToken, text)
  if (position === undefined || toDevice === undefined || ephemeral === undefined) {
    throw invalidParam(field, 'not a sync token of this server')
  }
  return {
    position: integer(position, field),
    toDevice: integer(toDevice, field),
    ephemeral,
  }
}

/** `t<depth>_<arrival>`, fit for a URL as it is. */
export function formatHistoryToken({ depth, arrival }: HistoryToken): string {
  return `t${depth}_${arrival}`
}

/** @throws MatrixError M_INVALID_PARAM for anything that `formatHistoryToken` did not make; `field` names the parameter. */
export function parseHistoryToken(text: string, field = 'from'): HistoryToken {
  const [, depth, arrival] = match(historyToken, text)
  if (depth === undefined || arrival === undefined) {
    throw invalidParam(field, 'not a history token of this server')
  }
  return { depth: integer(depth, field), arrival: integer(arrival, field) }
}

/** @throws MatrixError M_INVALID_PARAM for a token of neither kind; `field` names the parameter. */
export function parseToken(text: string, field = 'from'): Token {
  if (text.startsWith('s')) return { kind: 'sync', ...parseSyncToken(text, field) }
  return { kind: 'history', ...parseHistoryToken(text, field) }
}

function match(pattern: RegExp, text: string): readonly (string | undefined)[] {
  return (text.length <= tokenLengthMax && pattern.exec(text)) || []
}

function integer(digits: string, field: string): number {
  const value = Number(digits)
  if (!Number.isSafeInteger(value)) throw invalidParam(field, 'out of range')
  return value === 0 ? 0 : value
}
