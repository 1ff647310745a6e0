/** Which event of a room was sent around a time. {@link https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event} */
import { notFound } from '../../spec/errors.ts'
import { type RoomId, type ServerName, serverOfUser } from '../../spec/ids.ts'
import type { ClosestQuery, Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { Memberships, Requester } from './rooms.ts'
import type { Viewing } from './viewing.ts'

export interface JumpToDate {
  /**
   * The event closest to a time that the user may see, fetched from other servers where the history here ends.
   * @throws MatrixError M_FORBIDDEN for those who may not read the room; M_NOT_FOUND when there is none
   */
  eventByTime(
    who: Requester,
    room: RoomId,
    at: Pick<ClosestQuery, 'ts' | 'dir'>,
  ): Promise<StoredEvent>
}

interface Needs {
  readonly serverName: ServerName
  readonly events: Pick<Events, 'closestTo' | 'visibleTo'>
  readonly memberships: Pick<Memberships, 'ofRoom'>
  readonly viewing: Viewing
}

export function createJumpToDate(needs: Needs): JumpToDate {
  const { serverName, events, memberships, viewing } = needs

  /** The other servers in a room, first those that have been in it for the longest time. */
  async function others(room: RoomId): Promise<readonly ServerName[]> {
    const since = new Map<ServerName, number>()
    for (const row of (await memberships.ofRoom(room)).values()) {
      const server = serverOfUser(row.user)
      if (row.membership !== 'join' || server === serverName) continue
      since.set(server, Math.min(since.get(server) ?? Infinity, row.since))
    }
    return [...since].sort((a, b) => a[1] - b[1]).map(([server]) => server)
  }

  return {
    async eventByTime({ user }, room, { ts, dir }) {
      const view = await viewing.requireView(user, room)
      const left = view.kind === 'left' ? (view.at.position ?? 0) : Infinity
      const keep: ClosestQuery['keep'] = async (found) => {
        const until = found.filter(({ position = Infinity }) => position <= left)
        return (await events.visibleTo(user, until)).map(({ event }) => event)
      }
      const servers = view.kind === 'now' ? await others(room) : []
      const event = await events.closestTo(room, { ts, dir, keep, servers })
      if (event === undefined) throw notFound('Event')
      return event
    },
  }
}
