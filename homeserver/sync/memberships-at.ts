import { MatrixError } from '../../spec/errors.ts'
import type { UserId } from '../../spec/ids.ts'
import type { MembershipRow, Memberships } from '../rooms/rooms.ts'
import type { Position, Tail } from '../stream/log.ts'

/** Reads of memberships before one of them stands still. */
const attemptsMax = 50
const reachMs = 1_000

/** The user's memberships as they are at a position that the tail has reached. */
export async function readMemberships(
  {
    memberships,
    tail,
  }: {
    readonly memberships: Pick<Memberships, 'ofUser'>
    readonly tail: Pick<Tail, 'position' | 'reached'>
  },
  user: UserId,
): Promise<{ rows: readonly MembershipRow[]; upTo: Position }> {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const upTo = tail.position
    // The map goes on changing: it is copied while nothing else runs.
    const rows = [...(await memberships.ofUser(user)).values()]
    const newest = rows.reduce((most, row) => Math.max(most, row.position), 0)
    if (newest <= upTo) return { rows, upTo }
    // What was loaded is ahead of the tail, or the tail has moved on meanwhile.
    await tail.reached(newest, reachMs)
  }
  throw new MatrixError('M_UNKNOWN', 'the memberships are changing too often')
}
