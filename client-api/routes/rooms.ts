import type {
  Memberships,
  Requester,
  Rooms,
  ThirdPartyInvite,
} from '../../homeserver/rooms/rooms.ts'
import * as api from '../../spec/api/client/rooms.ts'
import { MatrixError } from '../../spec/errors.ts'
import { isRoomId, type RoomId, type ServerName, type UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { given } from '../given.ts'
import { route } from '../router.ts'

/** Rooms: made, entered, left, and who is let in. */
export const roomRoutes = ({
  rooms,
  memberships,
}: {
  readonly rooms: Rooms
  readonly memberships: Pick<Memberships, 'ofUser'>
}) => [
  route(api.createRoom, async ({ body }, who) => {
    const room = await rooms.create(who, {
      initialState: (body.initial_state ?? []).map(({ type, state_key, content }) => ({
        type,
        stateKey: state_key ?? '',
        content,
      })),
      ...given({
        creationContent: body.creation_content,
        invite: body.invite,
        isDirect: body.is_direct,
        name: body.name,
        topic: body.topic,
        powerLevelContentOverride: body.power_level_content_override,
        preset: body.preset,
        roomAliasName: body.room_alias_name,
        roomVersion: body.room_version,
        visibility: body.visibility,
      }),
    })
    for (const one of body.invite_3pid ?? []) {
      // The room is there: that one invite does not arrive must not make the client try again.
      await rooms.inviteThirdParty(who, room, thirdPartyOf(one)).catch(ignoreRefusal)
    }
    return { room_id: room }
  }),
  route(api.upgradeRoom, async ({ params, body }, who) => {
    const next = await rooms.upgrade(who, params.roomId, {
      version: body.new_version,
      ...given({ additionalCreators: body.additional_creators }),
    })
    return { replacement_room: next }
  }),
  route(api.joinRoom, async ({ params: { roomIdOrAlias: target }, query, body }, who) => {
    if (isRoomId(target)) await claim(rooms, who, target, body.third_party_signed)
    return { room_id: await rooms.join(who, target, { via: viaOf(query), ...entryOf(body) }) }
  }),
  route(api.joinRoomById, async ({ params: { roomId: target }, query, body }, who) => {
    await claim(rooms, who, target, body.third_party_signed)
    return { room_id: await rooms.join(who, target, { via: viaOf(query), ...entryOf(body) }) }
  }),
  route(api.knockRoom, async ({ params, query, body }, who) => {
    const options = { via: viaOf(query), ...given({ reason: body.reason }) }
    return { room_id: await rooms.knock(who, params.roomIdOrAlias, options) }
  }),
  route(api.leaveRoom, async ({ params, body }, who) => {
    await rooms.leave(who, params.roomId, body.reason)
    return {}
  }),
  route(api.forgetRoom, async ({ params }, who) => {
    await rooms.forget(who, params.roomId)
    return {}
  }),
  route(api.inviteUser, async ({ params, body }, who) => {
    const { user_id: user, reason } = body
    if (user !== undefined) await rooms.invite(who, params.roomId, user, given({ reason }))
    else await rooms.inviteThirdParty(who, params.roomId, thirdPartyOf(body))
    return {}
  }),
  route(api.kickUser, async ({ params, body }, who) => {
    await rooms.kick(who, params.roomId, body.user_id, body.reason)
    return {}
  }),
  route(api.banUser, async ({ params, body }, who) => {
    await rooms.ban(who, params.roomId, body.user_id, body.reason)
    return {}
  }),
  route(api.unbanUser, async ({ params, body }, who) => {
    await rooms.unban(who, params.roomId, body.user_id, body.reason)
    return {}
  }),
  route(api.getJoinedRooms, async (_, who) => {
    const mine = await memberships.ofUser(who.user)
    return {
      joined_rooms: [...mine.values()]
        .filter(({ membership }) => membership === 'join')
        .map(({ room }) => room),
    }
  }),
]

/** @throws MatrixError M_MISSING_PARAM when it names neither a user nor a whole address */
function thirdPartyOf(body: {
  readonly id_server?: string | undefined
  readonly id_access_token?: string | undefined
  readonly medium?: string | undefined
  readonly address?: string | undefined
}): ThirdPartyInvite {
  const { id_server: name, id_access_token: accessToken, medium, address } = body
  const isWhole = name !== undefined && accessToken !== undefined && medium !== undefined
  if (!isWhole || address === undefined) {
    throw new MatrixError('M_MISSING_PARAM', 'user_id: missing')
  }
  return { server: { name, accessToken }, medium, address }
}

function ignoreRefusal(error: unknown): void {
  if (!(error instanceof MatrixError)) throw error
}

/** `server_name` is the older name of `via`. */
function viaOf(query: {
  readonly via?: readonly ServerName[]
  readonly server_name?: readonly ServerName[]
}): readonly ServerName[] {
  return query.via ?? query.server_name ?? []
}

/** A join that brings the proof that an invite of an address is for the user. */
async function claim(
  rooms: Pick<Rooms, 'claimInvite'>,
  who: Requester,
  room: RoomId,
  proof: (JsonObject & { readonly sender: UserId }) | undefined,
): Promise<void> {
  if (proof === undefined) return
  const { sender, ...signed } = proof
  await rooms.claimInvite(who, room, { sender, signed })
}

/** Keys of a join's body that are not content of the member event. */
function entryOf(body: JsonObject & { readonly reason?: string }) {
  const { reason, third_party_signed: _, ...content } = body
  return { ...given({ reason }), ...(Object.keys(content).length > 0 && { content }) }
}
