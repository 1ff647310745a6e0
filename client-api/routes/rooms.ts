import type { Memberships, Rooms } from '../../homeserver/rooms/rooms.ts'
import * as api from '../../spec/api/client/rooms.ts'
import { MatrixError } from '../../spec/errors.ts'
import type { ServerName } from '../../spec/ids.ts'
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
    if (body.invite_3pid !== undefined && body.invite_3pid.length > 0) {
      throw new MatrixError('M_THREEPID_DENIED', 'There is no identity server here', {
        status: 403,
      })
    }
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
    return { room_id: room }
  }),
  route(api.joinRoom, async ({ params, query, body }, who) => ({
    room_id: await rooms.join(who, params.roomIdOrAlias, { via: viaOf(query), ...entryOf(body) }),
  })),
  route(api.joinRoomById, async ({ params, query, body }, who) => ({
    room_id: await rooms.join(who, params.roomId, { via: viaOf(query), ...entryOf(body) }),
  })),
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
    await rooms.invite(who, params.roomId, body.user_id, given({ reason: body.reason }))
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

/** `server_name` is the older name of `via`. */
function viaOf(query: {
  readonly via?: readonly ServerName[]
  readonly server_name?: readonly ServerName[]
}): readonly ServerName[] {
  return query.via ?? query.server_name ?? []
}

/** Keys of a join's body that are not content of the member event. */
function entryOf(body: JsonObject & { readonly reason?: string }) {
  const { reason, third_party_signed: _, ...content } = body
  return { ...given({ reason }), ...(Object.keys(content).length > 0 && { content }) }
}
