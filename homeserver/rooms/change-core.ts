/** What all changes of memberships by our users share. */
import type { SigningKey } from '../../spec/crypto/ed25519.ts'
import { forbidden, MatrixError } from '../../spec/errors.ts'
import {
  type RoomId,
  type ServerName,
  serverOfRoom,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import type { Json, JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { Clock } from '../platform/clock.ts'
import type { LogWriter } from '../stream/log.ts'
import { requireMembers } from './all-members.ts'
import type { Candidates } from './handshakes.ts'
import { type MemberChange, planMember } from './member-plan.ts'
import type { MembershipRow, Memberships } from './rooms.ts'
import { type InvitePermissionOf, requireWanted } from './wanted-invites.ts'

export interface ChangeNeeds {
  readonly serverName: ServerName
  readonly key: SigningKey
  readonly db: Database
  readonly clock: Clock
  readonly log: Pick<LogWriter, 'write'>
  readonly events: Events
  readonly memberships: Memberships
  readonly profileOf: (user: UserId) => Promise<JsonObject>
  /** Everybody lets themselves be invited when absent. */
  readonly invitePermission?: InvitePermissionOf
  /** Who sends the server's notices: their invites are not rejected, and nobody invites them. */
  readonly noticesUser?: UserId
}

export interface Core {
  isLocal(user: UserId): boolean
  /** Is one of our users in the room, so that its state is known here. */
  isHere(room: RoomId): Promise<boolean>
  /** @throws MatrixError M_FORBIDDEN when the room is not here */
  requireHere(user: UserId, room: RoomId): Promise<void>
  rowOf(user: UserId, room: RoomId): Promise<MembershipRow | undefined>
  /** Makes a change in a room that is here. */
  apply(room: RoomId, change: MemberChange): Promise<StoredEvent>
  /** Name and avatar of a user of ours, for the content of member events. */
  profile(user: UserId): Promise<JsonObject>
}

export function createCore(needs: ChangeNeeds): Core {
  const { serverName, events, memberships, noticesUser } = needs

  async function requireNoNotices(
    room: RoomId,
    { action, sender, target }: MemberChange,
  ): Promise<void> {
    if (action === 'invite' && target === noticesUser) throw forbidden('Cannot invite this user')
    if (action !== 'leave' || sender !== target) return
    const row = (await memberships.ofUser(target)).get(room)
    if (row?.membership !== 'invite' || row.sender !== noticesUser) return
    throw new MatrixError(
      'M_CANNOT_LEAVE_SERVER_NOTICE_ROOM',
      'The server has something to tell you: this invite cannot be rejected',
    )
  }

  const isLocal = (user: UserId) => serverOfUser(user) === serverName
  const isHere = async (room: RoomId) => (await events.serversIn(room)).has(serverName)

  return {
    isLocal,
    isHere,
    async requireHere(user, room) {
      if (!(await isHere(room))) throw forbidden(`User ${user} not in room ${room}`)
    },
    rowOf: async (user, room) => (await memberships.ofUser(user)).get(room),
    async apply(room, change) {
      if (noticesUser !== undefined) await requireNoNotices(room, change)
      // Others are refused, whoever else is there.
      const isOfOthers = change.sender !== change.target
      if (isOfOthers && (await memberships.isJoined(change.sender, room))) {
        await requireMembers(events, room)
      }
      if (change.action === 'invite' && isLocal(change.target)) {
        await requireWanted(needs.invitePermission, change)
      }
      return await events.append(room, (view) => planMember(needs, view, change))
    },
    async profile(user) {
      if (!isLocal(user)) return {}
      const { displayname, avatar_url } = await needs.profileOf(user)
      return filled({ displayname, avatar_url })
    },
  }
}

/** Servers that may let a user in: who invited them and those that were named; and who made the room. */
export function candidatesFor(
  row: MembershipRow | undefined,
  room: RoomId,
  named: readonly ServerName[],
): Candidates {
  const inviter = row?.membership === 'invite' ? [serverOfUser(row.sender)] : []
  const maker = serverOfRoom(room)
  return { candidates: [...new Set([...inviter, ...named])], ...(maker && { lastResort: maker }) }
}

/** The fields that have a value. */
export function filled(fields: Readonly<Record<string, Json | undefined>>): JsonObject {
  const content: Record<string, Json> = {}
  for (const [key, value] of Object.entries(fields)) if (value !== undefined) content[key] = value
  return content
}
