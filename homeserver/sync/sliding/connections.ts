/**
 * Remembers what connections were sent: in memory for those in use, in the table for a restart and for the other
 * processes. A request with nothing new to remember writes nothing.
 */
import { LRUCache } from 'lru-cache'
import type { Database } from '../../database/database.ts'
import type { Clock } from '../../platform/clock.ts'
import type { Logger } from '../../platform/log.ts'
import { unknownPos } from './pos.ts'
import * as queries from './queries.ts'
import { slidingLimits } from './request.ts'
import { nothingSent, readSent, type Sent, writeSent } from './sent.ts'

export interface Connections {
  /** What had been sent at a position. @throws MatrixError M_UNKNOWN_POS */
  get(key: queries.ConnectionKey, nr: number): Promise<Sent>
  /** Stores what a connection has been sent beyond `from`, a position it has come back with; answers the new number. */
  put(key: queries.ConnectionKey, sent: Sent, from: number | undefined): Promise<number>
}

/** What one connection was sent, by position number, and when that was last said to be in use. */
type Positions = Map<number, { readonly sent: Sent; touchedAt: number }>

/** Rooms in all that is kept in memory. */
const roomsKeptMax = 1_000_000
/** A connection in use is marked so this often, in ms. */
const touchMs = 24 * 3_600_000
const unusedAtOnce = 200

export function createConnections({
  db,
  log,
  clock,
}: {
  readonly db: Database
  readonly log: Logger
  readonly clock: Clock
}): Connections {
  const kept = new LRUCache<string, Positions>({
    maxSize: roomsKeptMax,
    sizeCalculation: (positions) =>
      [...positions.values()].reduce((sum, { sent }) => sum + sent.rooms.size, 16),
  })

  function keep(key: queries.ConnectionKey, nr: number, sent: Sent, from: number): void {
    const positions: Positions = new Map()
    for (const [known, before] of kept.get(nameOf(key)) ?? []) {
      if (known >= from) positions.set(known, before)
    }
    positions.set(nr, { sent, touchedAt: clock.now() })
    for (const oldest of positions.keys()) {
      if (positions.size <= slidingLimits.unconfirmedPositions) break
      if (oldest !== from) positions.delete(oldest)
    }
    kept.set(nameOf(key), positions)
  }

  async function load(key: queries.ConnectionKey, nr: number): Promise<Sent> {
    const row = await queries.findPosition(db, key, nr, touchMs)
    if (row === undefined) throw unknownPos()
    if (row.is_stale) touch(nr)
    const sent = readSent(row.state)
    keep(key, nr, sent, 0)
    return sent
  }

  /** Behind the answer: what is missed is made up for the next day. */
  function touch(nr: number): void {
    queries.touchPosition(db, nr).catch((error: unknown) => {
      log.warn({ error }, 'sliding connection not marked as used')
    })
  }

  /** Makes room for a connection that begins. */
  async function prune(key: queries.ConnectionKey): Promise<void> {
    try {
      await queries.deleteOtherConnections(db, key, slidingLimits.connectionsPerDevice - 1)
      await queries.deleteUnused(db, slidingLimits.connectionMs, unusedAtOnce)
    } catch (error) {
      log.warn({ error, user: key.user }, 'sliding connections not pruned')
    }
  }

  return {
    async get(key, nr) {
      if (nr === 0) return nothingSent
      const known = kept.get(nameOf(key))?.get(nr)
      if (known === undefined) return await load(key, nr)
      if (clock.now() - known.touchedAt > touchMs) {
        known.touchedAt = clock.now()
        touch(nr)
      }
      return known.sent
    },
    async put(key, sent, from) {
      // A connection that begins anew ends the one before it.
      const confirmed = from ?? Number.MAX_SAFE_INTEGER
      const unconfirmedMax = slidingLimits.unconfirmedPositions - 1
      const text = writeSent(sent)
      const nr = await queries.insertPosition(db, key, text, { confirmed, unconfirmedMax })
      if (from === undefined || from === 0) await prune(key)
      keep(key, nr, sent, confirmed)
      return nr
    },
  }
}

function nameOf({ user, device, connId }: queries.ConnectionKey): string {
  return JSON.stringify([user, device, connId])
}
