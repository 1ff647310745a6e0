/** Checks of an invite for one of our users. {@link https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid} */
import { invalidParam, MatrixError } from '../../spec/errors.ts'
import type { Pdu } from '../../spec/events/event.ts'
import {
  type EventId,
  isUserId,
  type RoomId,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import { isObject, type JsonObject, objectAt } from '../../spec/json.ts'
import { examinePdu } from '../../spec/room/event-format.ts'
import { type RoomVersionRules, rulesOf } from '../../spec/room/version.ts'
import type { KeyRing } from '../ports.ts'
import { hasForeignCreate } from './shown-state.ts'
import { isSignedBy } from './signed-by.ts'

export interface ReceivedInvite {
  readonly room: RoomId
  readonly eventId: EventId
  readonly roomVersion: string
  readonly event: JsonObject
  readonly inviteRoomState: readonly JsonObject[]
}

interface Needs {
  readonly serverName: ServerName
  readonly keys: KeyRing
}

/** @throws MatrixError M_INVALID_PARAM, M_FORBIDDEN, M_INCOMPATIBLE_ROOM_VERSION */
export async function requireInvite(
  { serverName, keys }: Needs,
  origin: ServerName,
  invite: ReceivedInvite,
): Promise<{ pdu: Pdu; rules: RoomVersionRules; user: UserId }> {
  const rules = requireRules(invite.roomVersion)
  const { pdu, contentHashMatches } = examine(invite.event, rules)
  const user = pdu.stateKey
  if (pdu.type !== 'm.room.member') throw invalidParam('type', 'not a membership')
  if (pdu.content['membership'] !== 'invite') throw invalidParam('membership', 'not invite')
  if (pdu.roomId !== invite.room) throw invalidParam('room_id', 'another room')
  if (pdu.eventId !== invite.eventId) throw invalidParam('event_id', 'another event')
  if (!contentHashMatches) throw invalidParam('hashes', 'the content was changed')
  if (!isUserId(user) || serverOfUser(user) !== serverName) {
    throw invalidParam('state_key', 'not a user of this server')
  }
  if (serverOfUser(pdu.sender) !== origin) throw invalidParam('sender', 'not a user of the origin')
  if (!(await isSignedBy(keys, origin, pdu, rules))) {
    throw new MatrixError('M_FORBIDDEN', 'the invite is not signed by its sender’s server')
  }
  // v12+: a whole create event has to be that of the room. Not every server sends one with its invites yet.
  if (rules.createHashRoomId && hasForeignCreate(invite.room, invite.inviteRoomState, rules)) {
    throw invalidParam('invite_room_state', 'has the create event of another room')
  }
  requireOwnThirdPartyInvite(pdu)
  return { pdu, rules, user }
}

function examine(event: JsonObject, rules: RoomVersionRules) {
  try {
    return examinePdu(event, rules)
  } catch (error) {
    if (error instanceof MatrixError) throw invalidParam('event', error.message)
    throw error
  }
}

/** An invite that stands for one to an address is for whom its identity server says. */
function requireOwnThirdPartyInvite({ content, stateKey }: Pdu): void {
  const invite = content['third_party_invite']
  if (invite === undefined) return
  const signed = isObject(invite) ? objectAt(invite, 'signed') : undefined
  if (signed?.['mxid'] !== stateKey) throw invalidParam('third_party_invite', 'for another user')
}

function requireRules(version: string): RoomVersionRules {
  const rules = rulesOf(version)
  if (rules !== undefined) return rules
  throw new MatrixError(
    'M_INCOMPATIBLE_ROOM_VERSION',
    `this server does not know room version ${version}`,
    { fields: { room_version: version } },
  )
}
