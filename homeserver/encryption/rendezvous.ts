/**
 * Owns the places where two devices meet while one of them is signed in with a QR code: what one leaves there the other
 * reads and replaces. What they say is encrypted between them; whoever knows the id may read and write.
 * {@link https://github.com/matrix-org/matrix-spec-proposals/pull/4388}
 */
import { MatrixError, notFound } from '../../spec/errors.ts'
import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import type { Random } from '../platform/random.ts'
import * as queries from './rendezvous-queries.ts'

/** A place with what was left there last. */
export interface Meeting {
  readonly id: string
  /** Another one with every write. */
  readonly revision: string
  readonly data: Uint8Array
  readonly contentType: string
  /** Milliseconds since the epoch. */
  readonly changedAt: number
  readonly expiresAt: number
}

interface Payload {
  readonly data: Uint8Array
  readonly contentType: string
}

export interface Rendezvous {
  /** Throws M_TOO_LARGE. */
  create(payload: Payload): Promise<Meeting>
  /** Throws M_NOT_FOUND when it is unknown or has expired. */
  get(id: string): Promise<Meeting>
  /**
   * Replaces what is there if it is of this revision; otherwise nothing is written and `written` is false. Throws
   * M_NOT_FOUND and M_TOO_LARGE.
   */
  put(
    id: string,
    revision: string,
    payload: Payload,
  ): Promise<{ readonly written: boolean; readonly meeting: Meeting }>
  /** Throws M_NOT_FOUND. */
  delete(id: string): Promise<void>
}

export const rendezvousLimits = {
  payloadBytes: 4096,
  /** How long a place is there: time enough for whoever has to find a second factor. */
  lifeMs: 300_000,
  /** Places at a time; the oldest goes when there are more. */
  places: 10_000,
  idLength: 24,
  revisionLength: 24,
} as const

export function createRendezvous(needs: {
  db: Database
  clock: Pick<Clock, 'now'>
  random: Random
}): Rendezvous {
  const { db, clock, random } = needs
  const { lifeMs, places, idLength, revisionLength } = rendezvousLimits

  async function get(id: string): Promise<Meeting> {
    const row = isId(id) ? await queries.findRendezvous(db, id, clock.now()) : undefined
    if (row === undefined) throw notFound('rendezvous')
    return meetingOf(row)
  }

  function rowOf({ data, contentType }: Payload) {
    if (data.length > rendezvousLimits.payloadBytes) throw tooLarge()
    return {
      revision: random.text(revisionLength),
      data: Buffer.from(data).toString('base64'),
      content_type: contentType,
      changed_at: clock.now(),
    }
  }

  return {
    get,
    async create(payload) {
      const fresh = rowOf(payload)
      const row = { ...fresh, id: random.text(idLength), expires_at: fresh.changed_at + lifeMs }
      await queries.insertRendezvous(db, row, places)
      return meetingOf(row)
    },
    async put(id, revision, payload) {
      const next = rowOf(payload)
      const mayBe = isId(id) && isId(revision)
      const row = mayBe ? await queries.replaceRendezvous(db, { id, revision }, next) : undefined
      if (row === undefined) return { written: false, meeting: await get(id) }
      return { written: true, meeting: meetingOf(row) }
    },
    async delete(id) {
      const deleted = isId(id) && (await queries.deleteRendezvous(db, id, clock.now()))
      if (!deleted) throw notFound('rendezvous')
    },
  }
}

/** What is larger than a payload may be. */
export function tooLarge(): MatrixError {
  const { payloadBytes } = rendezvousLimits
  return new MatrixError('M_TOO_LARGE', `The payload is larger than ${payloadBytes} bytes`)
}

/** Ids and revisions are made alike; anything else need not be looked for. */
function isId(id: string): boolean {
  return /^[A-Za-z0-9]{1,64}$/.test(id)
}

function meetingOf(row: queries.RendezvousRow): Meeting {
  return {
    id: row.id,
    revision: row.revision,
    data: Buffer.from(row.data, 'base64'),
    contentType: row.content_type,
    changedAt: row.changed_at,
    expiresAt: row.expires_at,
  }
}
