/** Joins of rooms that let members of other rooms in. {@link https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms} */
import { forbidden, MatrixError } from '../../spec/errors.ts'
import {
  isRoomId,
  type RoomId,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import { arrayAt, isObject, type JsonObject } from '../../spec/json.ts'
import { levelFor, powerLevelsOf, userLevel } from '../../spec/room/power-levels.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { TurnView } from '../events/events.ts'
import { membershipIn } from './membership-row.ts'
import type { Memberships } from './rooms.ts'

export interface RestrictedNeeds {
  readonly serverName: ServerName
  readonly memberships: Pick<Memberships, 'isJoined' | 'localJoined'>
}

/** Rooms of one join rule that are looked at. */
const allowedMax = 100

/**
 * The member of this server who vouches for a join; undefined when the join needs nobody.
 * @throws MatrixError M_FORBIDDEN when the user is in none of the rooms; M_UNABLE_TO_AUTHORISE_JOIN when this server
 * cannot tell; M_UNABLE_TO_GRANT_JOIN when none of its members may invite.
 */
export async function authoriserOf(
  needs: RestrictedNeeds,
  view: TurnView,
  user: UserId,
): Promise<UserId | undefined> {
  const rule = (await view.state('m.room.join_rules', ''))?.pdu.content ?? {}
  if (!isRestricted(rule, view.rules)) return undefined
  const current = (await view.state('m.room.member', user))?.pdu.content
  const membership = current && membershipIn(current)
  // Who is invited or in the room needs no voucher; who is banned gets none that helps.
  if (membership === 'join' || membership === 'invite' || membership === 'ban') return undefined
  await requireAllowed(needs, rule, user)
  return await vouching(needs, view)
}

/** Does a join rule let members of other rooms in, in a room of these rules. */
export function isRestricted(rule: JsonObject, rules: RoomVersionRules): boolean {
  if (rule['join_rule'] === 'restricted') return rules.restrictedJoin
  return rule['join_rule'] === 'knock_restricted' && rules.knockRestricted
}

async function requireAllowed(
  { memberships }: RestrictedNeeds,
  rule: JsonObject,
  user: UserId,
): Promise<void> {
  let isAnyKnown = false
  const rooms = allowedRooms(rule)
  // Whom a rule that names no room lets in, every server knows: nobody.
  if (rooms.length === 0) throw forbidden('You are not invited to this room.')
  for (const room of rooms) {
    if (await memberships.isJoined(user, room)) {
      // Of a room that nobody here is in, what is stored is of another day.
      if ((await memberships.localJoined(room)).length > 0) return
    } else if (!isAnyKnown) isAnyKnown = (await memberships.localJoined(room)).length > 0
  }
  if (isAnyKnown) {
    throw forbidden('You do not belong to any of the required rooms/spaces to join this room.')
  }
  throw new MatrixError(
    'M_UNABLE_TO_AUTHORISE_JOIN',
    'This server is in none of the rooms whose members may join',
  )
}

/** The rooms whose members a join rule lets in. */
export function allowedRooms(rule: JsonObject): RoomId[] {
  const rooms: RoomId[] = []
  for (const entry of (arrayAt(rule, 'allow') ?? []).slice(0, allowedMax)) {
    if (!isObject(entry) || entry['type'] !== 'm.room_membership') continue
    if (isRoomId(entry['room_id'])) rooms.push(entry['room_id'])
  }
  return rooms
}

async function vouching({ serverName }: RestrictedNeeds, view: TurnView): Promise<UserId> {
  const create = await view.state('m.room.create', '')
  const powerLevels = await view.state('m.room.power_levels', '')
  const levels = powerLevelsOf(view.rules, create?.pdu, powerLevels?.pdu)
  const needed = levelFor(levels, 'invite')
  for (const user of view.members()) {
    if (serverOfUser(user) !== serverName || userLevel(levels, user) < needed) continue
    const member = await view.state('m.room.member', user)
    if (member && membershipIn(member.pdu.content) === 'join') return user
  }
  throw new MatrixError('M_UNABLE_TO_GRANT_JOIN', 'No member of this server may invite to the room')
}
