/** Who may look at a room from outside: those who are in it, those who may come in, and all where the world may read. */
import { type RoomId, type ServerName, serverOfUser, type UserId } from '../../spec/ids.ts'
import { isServerAllowed } from '../../spec/room/server-acl.ts'
import type { Events } from '../events/events.ts'
import type { Memberships } from './rooms.ts'
import type { Summaries } from './summary.ts'

export interface Onlookers {
  /** May a user of this server see the summary of a room that is here. */
  userMaySee(user: UserId, room: RoomId): Promise<boolean>
  /** May somebody of another server see it. */
  serverMaySee(server: ServerName, room: RoomId): Promise<boolean>
  /** Is the user in one of the rooms. */
  isInAny(user: UserId, rooms: readonly RoomId[]): Promise<boolean>
  /** Is somebody of this server in the room, so that its state is known here. */
  isHere(room: RoomId): Promise<boolean>
}

interface Needs {
  readonly serverName: ServerName
  readonly events: Pick<Events, 'currentEntry' | 'serversIn'>
  readonly memberships: Pick<Memberships, 'ofUser' | 'ofRoom' | 'isJoined'>
  readonly summaries: Summaries
}

export function createOnlookers(needs: Needs): Onlookers {
  const { serverName, events, memberships, summaries } = needs

  async function isInAny(user: UserId, rooms: readonly RoomId[]): Promise<boolean> {
    for (const room of rooms) if (await memberships.isJoined(user, room)) return true
    return false
  }

  async function isHere(room: RoomId): Promise<boolean> {
    return (await events.serversIn(room)).has(serverName)
  }

  /** Servers are in rooms that let their members in elsewhere only as far as we can tell. */
  async function isServerInAny(server: ServerName, rooms: readonly RoomId[]): Promise<boolean> {
    for (const room of rooms) {
      const servers = await events.serversIn(room)
      if (servers.has(serverName) && servers.has(server)) return true
    }
    return false
  }

  async function hasInvited(server: ServerName, room: RoomId): Promise<boolean> {
    for (const { user, membership } of (await memberships.ofRoom(room)).values()) {
      if (membership === 'invite' && serverOfUser(user) === server) return true
    }
    return false
  }

  return {
    isHere,
    isInAny,
    async userMaySee(user, room) {
      const membership = (await memberships.ofUser(user)).get(room)?.membership
      if (membership === 'join' || membership === 'invite') return true
      const summary = await summaries.of(room)
      if (summary === undefined) return false
      if (summary.worldReadable) return true
      if (membership === 'ban') return false
      return summary.isOpen || (await isInAny(user, summary.allowed))
    },
    async serverMaySee(server, room) {
      const summary = await summaries.of(room)
      if (!summary?.federates || !(await isHere(room))) return false
      const acl = await events.currentEntry(room, 'm.room.server_acl', '')
      if (!isServerAllowed(acl?.pdu, server)) return false
      if (summary.worldReadable || summary.isOpen) return true
      if ((await events.serversIn(room)).has(server)) return true
      return (await isServerInAny(server, summary.allowed)) || (await hasInvited(server, room))
    },
  }
}
