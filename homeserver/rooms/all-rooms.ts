/** What concerns all rooms of a user: a changed name goes into each, and who is deactivated leaves each. */
import { MatrixError } from '../../spec/errors.ts'
import type { RoomId, UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { filled } from './change-core.ts'
import type { Memberships } from './rooms.ts'

export interface AllRooms {
  /** Carries a changed name or avatar into the rooms that the user is in. */
  propagateProfile(user: UserId, profile: JsonObject): Promise<void>
  /** Leaves every room and rejects every invite; may be called again. */
  leaveAll(user: UserId): Promise<void>
}

interface Needs {
  readonly memberships: Pick<Memberships, 'ofUser'>
  readonly renew: (room: RoomId, user: UserId, profile: JsonObject) => Promise<void>
  readonly leave: (room: RoomId, user: UserId) => Promise<void>
}

/** Rooms that are changed at a time. */
const concurrent = 10

export function createAllRooms({ memberships, renew, leave }: Needs): AllRooms {
  return {
    async propagateProfile(user, { displayname, avatar_url }) {
      const fields = filled({ displayname, avatar_url })
      const rows = [...(await memberships.ofUser(user)).values()]
      const rooms = rows.filter(({ membership }) => membership === 'join')
      // A room that does not take it keeps the old name; the profile itself has changed.
      await inTurns(
        rooms,
        ({ room }) => renew(room, user, fields),
        () => {},
      )
    },
    async leaveAll(user) {
      const rows = [...(await memberships.ofUser(user)).values()]
      const open = rows.filter(({ membership }) => membership !== 'leave' && membership !== 'ban')
      let failure: unknown
      await inTurns(
        open,
        ({ room }) => leave(room, user),
        (error) => {
          // What is forbidden stays so; the rest may succeed the next time.
          if (!(error instanceof MatrixError) || error.status >= 429) failure = error
        },
      )
      if (failure !== undefined) throw failure
    },
  }
}

async function inTurns<T>(
  list: readonly T[],
  work: (one: T) => Promise<void>,
  onError: (error: unknown) => void,
): Promise<void> {
  for (let at = 0; at < list.length; at += concurrent) {
    await Promise.all(list.slice(at, at + concurrent).map((one) => work(one).catch(onError)))
  }
}
