import { createHash } from 'node:crypto'
import { MatrixError } from '../../../spec/errors.ts'
import { formatSyncToken, parseSyncToken } from '../../../spec/sync/token.ts'
import { readSince, type Stamps } from '../request.ts'
import type { ConnectionKey } from './queries.ts'

/** Where a connection is. */
export interface Pos extends Stamps {
  readonly position: number
  /** Number of what the connection had been sent; 0 when that is nothing. */
  readonly nr: number
}

const ownerLength = 8

/**
 * A sync token, so that /messages takes it, with the number of what was sent and a mark of whose it is: a position is
 * of use to one connection of one device.
 */
export function writePos(
  { position, nr, typing, presence }: Pos,
  key: ConnectionKey,
  { self, now }: { self: string; now: number },
): string {
  const numbers = [typing, presence, now, nr].map((n) => n.toString(36))
  const ephemeral = [self, ...numbers, ownerMark(key)].join('.')
  return formatSyncToken({ position, toDevice: 0, ephemeral })
}

/** @throws MatrixError M_UNKNOWN_POS for what `writePos` did not make for this connection */
export function readPos(text: string, key: ConnectionKey, self: string): Pos {
  const { ephemeral } = parsed(text)
  const [, , , , nr = '', owner] = ephemeral.split('.')
  if (owner !== ownerMark(key) || !/^[0-9a-z]{1,11}$/.test(nr)) throw unknownPos()
  const { position, typing, presence } = readSince(text, self)
  return { position, typing, presence, nr: Number.parseInt(nr, 36) }
}

export function unknownPos(): MatrixError {
  return new MatrixError('M_UNKNOWN_POS', 'pos: not known, begin anew without it', { status: 400 })
}

function parsed(text: string): { readonly ephemeral: string } {
  try {
    return parseSyncToken(text, 'pos')
  } catch {
    throw unknownPos()
  }
}

function ownerMark({ user, device, connId }: ConnectionKey): string {
  const whose = JSON.stringify([user, device, connId])
  return createHash('sha256').update(whose).digest('base64url').slice(0, ownerLength)
}
