/** Making rooms. {@link https://spec.matrix.org/v1.19/client-server-api/#creation} */
import { LRUCache } from 'lru-cache'
import { badJson, invalidParam, MatrixError } from '../../spec/errors.ts'
import {
  isRoomAlias,
  isUserId,
  parseRoomAlias,
  type RoomAlias,
  type RoomId,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import type { Json, JsonObject } from '../../spec/json.ts'
import { type RoomVersionRules, rulesOf } from '../../spec/room/version.ts'
import type { Events } from '../events/events.ts'
import { atMost } from '../platform/cache.ts'
import type { Clock } from '../platform/clock.ts'
import { firstState } from './first-state.ts'
import type { MembershipChanges } from './membership.ts'
import type { CreateRoomRequest, Requester, Rooms } from './rooms.ts'
import { type InvitePermissionOf, requireWanted } from './wanted-invites.ts'

/** What createRoom asks of the directory. */
export interface AliasBook {
  /** @throws MatrixError M_ROOM_IN_USE when the alias is taken, M_EXCLUSIVE when it is for an application service */
  reserve(alias: RoomAlias, creator: Requester): Promise<void>
  assign(alias: RoomAlias, room: RoomId): Promise<void>
  release(alias: RoomAlias): Promise<void>
  publish(room: RoomId): Promise<void>
}

interface Needs {
  readonly serverName: ServerName
  readonly defaultRoomVersion: string
  readonly clock: Clock
  readonly events: Pick<Events, 'createRoom'>
  readonly changes: Pick<MembershipChanges, 'invite'>
  readonly aliases: AliasBook
  readonly profileOf: (user: UserId) => Promise<JsonObject>
  readonly invitePermission?: InvitePermissionOf
}

const creatorsMax = 10_000
/** Local users that are invited in the room's first write. */
const invitesMax = 1_000
const aliasNameLengthMax = 255

export function createRoomMaking(needs: Needs): Pick<Rooms, 'create'> {
  const { serverName, events, changes, aliases, clock } = needs
  /** When users made their newest room: two rooms of one content and one moment would have one id. */
  const newest = new LRUCache<UserId, number>({ ...atMost(creatorsMax) })

  async function ownMoment(user: UserId): Promise<void> {
    while (newest.get(user) === clock.now()) await clock.sleep(1)
    newest.set(user, clock.now())
  }

  async function make(
    { user }: Requester,
    request: CreateRoomRequest,
    rules: RoomVersionRules,
    alias: RoomAlias | undefined,
  ): Promise<RoomId> {
    const invited = [...new Set(request.invite ?? [])].filter((one) => one !== user)
    const local = invited.filter((one) => serverOfUser(one) === serverName)
    const profiles = new Map<UserId, JsonObject>()
    for (const target of local) {
      await requireWanted(needs.invitePermission, { sender: user, target })
    }
    for (const one of [user, ...local]) profiles.set(one, named(await needs.profileOf(one)))
    const content = createContent(request, rules, user, invited)
    const drafts = firstState({ request, rules, user, alias, profiles, invited, local })
    await ownMoment(user)
    try {
      const { room } = await events.createRoom(
        { version: rules.version, sender: user, content },
        () => drafts,
      )
      return room
    } catch (error) {
      // The first events are the request's: what the auth rules refuse is the request's fault.
      if (error instanceof MatrixError && error.errcode === 'M_FORBIDDEN') {
        throw new MatrixError('M_INVALID_ROOM_STATE', error.message, { status: 400 })
      }
      throw error
    }
  }

  async function inviteOthers(who: Requester, request: CreateRoomRequest, room: RoomId) {
    const options = request.isDirect === undefined ? {} : { isDirect: request.isDirect }
    const others = new Set(request.invite ?? [])
    for (const user of others) {
      if (serverOfUser(user) === serverName) continue
      // The room is there: that one invite does not arrive must not make the client try again.
      await changes.invite(who, room, user, options).catch(ignoreRefusal)
    }
  }

  return {
    async create(who, request) {
      if (who.guest) throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests make no rooms')
      const rules = requireRoomVersion(request.roomVersion ?? needs.defaultRoomVersion)
      requireRequest(who.user, request, rules)
      const alias = aliasOf(request, serverName)
      if (alias !== undefined) await aliases.reserve(alias, who)
      let room: RoomId
      try {
        room = await make(who, request, rules, alias)
      } catch (error) {
        if (alias !== undefined) await aliases.release(alias)
        throw error
      }
      if (alias !== undefined) await aliases.assign(alias, room)
      if (request.visibility === 'public') await aliases.publish(room)
      await inviteOthers(who, request, room)
      return room
    },
  }
}

/** @throws MatrixError M_UNSUPPORTED_ROOM_VERSION */
export function requireRoomVersion(version: string): RoomVersionRules {
  const rules = rulesOf(version)
  if (rules !== undefined) return rules
  throw new MatrixError(
    'M_UNSUPPORTED_ROOM_VERSION',
    'Your homeserver does not support this room version',
  )
}

function requireRequest(user: UserId, request: CreateRoomRequest, rules: RoomVersionRules): void {
  if ((request.invite ?? []).length > invitesMax) {
    throw invalidParam('invite', `more than ${invitesMax} users`)
  }
  const users = request.powerLevelContentOverride?.['users']
  const isOther = typeof users === 'object' && users !== null && !Object.hasOwn(users, user)
  if (isOther && !rules.privilegedCreators) {
    throw badJson('power_level_content_override.users', `does not contain ${user}`)
  }
  const additional = request.creationContent?.['additional_creators']
  if (rules.privilegedCreators && additional !== undefined) {
    if (!Array.isArray(additional) || !additional.every(isUserId)) {
      throw invalidParam('creation_content.additional_creators', 'not a list of user ids')
    }
  }
}

function aliasOf({ roomAliasName: name }: CreateRoomRequest, serverName: ServerName) {
  if (name === undefined) return undefined
  const alias = `#${name}:${serverName}`
  const isGood = name.length > 0 && name.length <= aliasNameLengthMax && !/[\s:\0]/u.test(name)
  if (!isGood || !isRoomAlias(alias)) {
    throw invalidParam('room_alias_name', 'not the local part of an alias')
  }
  return parseRoomAlias(alias)
}

function createContent(
  { creationContent, preset }: CreateRoomRequest,
  rules: RoomVersionRules,
  user: UserId,
  invited: readonly UserId[],
): JsonObject {
  const { creator: _, ...given } = creationContent ?? {}
  const content: Record<string, Json> = { ...given, room_version: rules.version }
  if (!rules.implicitCreator) content['creator'] = user
  // v12+: who is trusted from the start creates the room as well.
  if (rules.privilegedCreators && preset === 'trusted_private_chat' && invited.length > 0) {
    const named = given['additional_creators']
    content['additional_creators'] = [
      ...new Set([...(Array.isArray(named) ? named : []), ...invited]),
    ]
  }
  return content
}

function named({ displayname, avatar_url }: JsonObject): JsonObject {
  return {
    ...(displayname !== undefined && { displayname }),
    ...(avatar_url !== undefined && { avatar_url }),
  }
}

function ignoreRefusal(error: unknown): void {
  if (!(error instanceof MatrixError)) throw error
}
