import { MatrixError } from '../../spec/errors.ts'
import type { RoomId } from '../../spec/ids.ts'
import type { Events } from '../events/events.ts'

/** How long somebody who needs all members of a room waits for them, in ms. */
const waitMaxMs = 60_000

/**
 * Waits until all members of a room are known, which is at once but in one that was joined a moment ago.
 * @throws MatrixError M_UNKNOWN (503) when that takes too long
 */
export async function requireMembers(
  { partial }: Pick<Events, 'partial'>,
  room: RoomId,
): Promise<void> {
  if (!(await partial.complete(room, waitMaxMs)))
    throw new MatrixError('M_UNKNOWN', 'the members of the room are not all here yet', {
      status: 503,
    })
}
