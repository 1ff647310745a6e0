import {
  parseEventId,
  type RoomId,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import type { Membership, MembershipRow, Memberships } from './rooms.ts'

/** Memberships that a test sets by hand. */
export interface TestMemberships extends Memberships {
  set(
    room: RoomId,
    user: UserId,
    membership: Membership,
    position?: number,
    displayName?: string,
  ): void
}

export function testMemberships(serverName: ServerName): TestMemberships {
  const rooms = new Map<RoomId, Map<UserId, MembershipRow>>()

  function rowsOf(room: RoomId): Map<UserId, MembershipRow> {
    const rows = rooms.get(room) ?? new Map<UserId, MembershipRow>()
    rooms.set(room, rows)
    return rows
  }

  function isJoined(user: UserId, room: RoomId): boolean {
    return rooms.get(room)?.get(user)?.membership === 'join'
  }

  return {
    set(room, user, membership, position = 1, displayName) {
      const eventId = parseEventId('$member')
      const row = {
        room,
        user,
        membership,
        eventId,
        sender: user,
        since: position,
        position,
        forgotten: false,
      }
      rowsOf(room).set(user, displayName === undefined ? row : { ...row, displayName })
    },
    async ofUser(user) {
      const own = [...rooms].flatMap(([room, rows]) => {
        const row = rows.get(user)
        return row === undefined ? [] : [[room, row] as const]
      })
      return new Map(own)
    },
    ofRoom: async (room) => rowsOf(room),
    isJoined: async (user, room) => isJoined(user, room),
    async sharingWith(user) {
      const shared = [...rooms.keys()].filter((room) => isJoined(user, room))
      const others = shared.flatMap((room) =>
        [...rowsOf(room).keys()].filter((one) => isJoined(one, room)),
      )
      return new Set(others.filter((one) => one !== user))
    },
    async joinedCount(room) {
      return [...rowsOf(room).keys()].filter((user) => isJoined(user, room)).length
    },
    async localJoined(room) {
      return [...rowsOf(room).keys()].filter(
        (user) => isJoined(user, room) && serverOfUser(user) === serverName,
      )
    },
  }
}
