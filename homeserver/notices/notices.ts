/**
 * Owns the notices that whoever runs the server sends to its users: each user has one room for them, in which only a
 * user of the server itself speaks. {@link https://spec.matrix.org/v1.19/client-server-api/#server-notices}
 */
import { z } from 'zod'
import { invalidParam, MatrixError, notFound } from '../../spec/errors.ts'
import {
  type EventId,
  eventIdSchema,
  localpartOf,
  parseDeviceId,
  type RoomId,
  type UserId,
  userIdSchema,
} from '../../spec/ids.ts'
import { isObject, type JsonObject } from '../../spec/json.ts'
import type { AccountData } from '../accounts/account-data.ts'
import type { Accounts } from '../accounts/accounts.ts'
import type { Profiles } from '../accounts/profiles.ts'
import type { Database } from '../database/database.ts'
import { createPerKeyQueue } from '../platform/per-key-queue.ts'
import type { Memberships, Requester, Rooms } from '../rooms/rooms.ts'
import type { OwnedMethods } from '../stream/owned-methods.ts'
import { findNoticeRoom, setNoticeRoom } from './queries.ts'

/** Id of the owner of the notices' user, as if it were an application service: nobody else may register it. */
export const noticesOwner = 'server notices'

export interface Notice {
  readonly user: UserId
  readonly type: string
  readonly stateKey?: string
  readonly content: JsonObject
  /** The same notice of the same administrator is sent once. */
  readonly txnId?: string
}

export interface Notices {
  /** Sends a notice to a user of this server. @throws MatrixError M_NOT_FOUND, and what sending throws */
  send(admin: UserId, notice: Notice): Promise<EventId>
}

interface Needs {
  readonly db: Database
  readonly accounts: Pick<Accounts, 'find' | 'register'>
  readonly profiles: Pick<Profiles, 'set'>
  readonly accountData: Pick<AccountData, 'setTag'>
  readonly memberships: Pick<Memberships, 'ofUser' | 'isJoined'>
  readonly rooms: Pick<Rooms, 'create' | 'invite' | 'send'>
  readonly methods: Pick<OwnedMethods, 'add'>
  /** Who sends them. */
  readonly sender: UserId
  readonly displayName: string
}

/** Notices for one user that may wait for each other. */
const waitingMax = 100
const device = parseDeviceId('server notices')
const noticeSchema = z.object({
  user: userIdSchema,
  type: z.string(),
  stateKey: z.string().exactOptional(),
  content: z.custom<JsonObject>(isObject),
  txnId: z.string().exactOptional(),
})

export function createNotices(needs: Needs): Notices {
  const turns = createPerKeyQueue({ waitingMax })
  const who: Requester = { user: needs.sender, guest: false, admin: false }

  async function send(admin: UserId, notice: Notice): Promise<EventId> {
    const { user, type, stateKey, content, txnId } = notice
    await requireSender(needs)
    const room = await roomFor(needs, who, user)
    await inviteAgain(needs, who, room, user)
    return await needs.rooms.send(who, {
      ...{ room, type, content },
      ...(stateKey !== undefined && { stateKey }),
      ...(txnId !== undefined && { txn: { device, endpoint: `notice/${admin}`, txnId } }),
    })
  }

  const sendAtOwner = needs.methods.add({
    name: 'notices/send',
    args: z.object({ admin: userIdSchema, notice: noticeSchema }),
    result: eventIdSchema,
    // Two first notices make one room.
    run: ({ admin, notice }) => turns.run(notice.user, () => send(admin, notice)),
  })

  return {
    async send(admin, notice) {
      const account = await needs.accounts.find(notice.user)
      if (account === undefined) throw notFound('User')
      if (notice.user === needs.sender) throw invalidParam('user_id', 'sends the notices')
      return await sendAtOwner(notice.user, { admin, notice })
    },
  }
}

async function requireSender({ accounts, profiles, sender, displayName }: Needs): Promise<void> {
  if ((await accounts.find(sender)) !== undefined) return
  try {
    await accounts.register({ localpart: localpartOf(sender), appservice: noticesOwner })
  } catch (error) {
    // Another process was faster.
    if (!(error instanceof MatrixError && error.errcode === 'M_USER_IN_USE')) throw error
  }
  await profiles.set(sender, 'displayname', displayName)
}

/** The user's room for notices, made when it is missing: they can read it and not speak. */
async function roomFor(needs: Needs, who: Requester, user: UserId): Promise<RoomId> {
  const known = await findNoticeRoom(needs.db, user)
  if (known !== undefined && (await needs.memberships.isJoined(who.user, known))) return known
  const room = await needs.rooms.create(who, {
    preset: 'private_chat',
    name: needs.displayName,
    powerLevelContentOverride: { users_default: -10, invite: 100 },
    creationContent: { 'm.federate': false },
  })
  await setNoticeRoom(needs.db, user, room)
  await needs.accountData.setTag(user, room, 'm.server_notice', {})
  return room
}

/** Who has left hears of the next notice all the same. */
async function inviteAgain(
  { memberships, rooms }: Needs,
  who: Requester,
  room: RoomId,
  user: UserId,
): Promise<void> {
  const membership = (await memberships.ofUser(user)).get(room)?.membership
  if (membership === 'join' || membership === 'invite') return
  await rooms.invite(who, room, user, {})
}
