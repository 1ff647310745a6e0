/** The handshakes by which users of other servers join, leave and knock, and by which ours are invited. */
import type { z } from 'zod'
import type { StoredEvent } from '../../homeserver/events/stored-event.ts'
import type {
  Joined,
  ReceivedInvite,
  RemoteMembership,
} from '../../homeserver/rooms/remote-membership.ts'
import type { ThirdPartyExchange } from '../../homeserver/rooms/third-party.ts'
import {
  exchangeThirdPartyInvite,
  makeJoin,
  makeKnock,
  makeLeave,
  onBindThirdParty,
  onBindThirdPartyByPost,
  sendInvite,
  sendInviteV1,
  sendJoin,
  sendJoinV1,
  sendKnock,
  sendLeave,
  sendLeaveV1,
  strippedStateMax,
} from '../../spec/api/federation/membership.ts'
import { forbidden } from '../../spec/errors.ts'
import { type RoomId, type ServerName, serverOfUser, type UserId } from '../../spec/ids.ts'
import { arrayAt, isObject, type JsonObject, objectAt } from '../../spec/json.ts'
import type { Access } from '../access.ts'
import { JsonText, openRoute, type Route, route } from '../router.ts'

interface Needs {
  readonly thirdParty: ThirdPartyExchange
  readonly serverName: ServerName
  readonly access: Pick<Access, 'requireAllowed'>
  readonly membership: RemoteMembership
}

/** What a server that names no version can take part in. */
const versionsDefault = ['1']

export function membershipRoutes(needs: Needs): Route[] {
  const { access, membership } = needs

  /** A server makes templates only for its own users, and not in rooms that shut it out. */
  async function requireOwn(origin: ServerName, room: RoomId, user: UserId): Promise<void> {
    if (serverOfUser(user) !== origin) throw forbidden('the user is of another server')
    await access.requireAllowed(origin, room)
  }

  async function join(
    origin: ServerName,
    room: RoomId,
    event: JsonObject,
    omitMembers = false,
  ): Promise<string> {
    await access.requireAllowed(origin, room)
    return joinText(needs.serverName, await membership.sendJoin(origin, room, event, omitMembers))
  }

  async function leave(origin: ServerName, room: RoomId, event: JsonObject): Promise<void> {
    await access.requireAllowed(origin, room)
    await membership.sendLeave(origin, room, event)
  }

  return [
    route(makeJoin, async ({ params: { roomId, userId }, query }, origin) => {
      await requireOwn(origin, roomId, userId)
      return await membership.makeJoin(origin, roomId, userId, query.ver ?? versionsDefault)
    }),
    route(
      sendJoin,
      async ({ params, query, body }, origin) =>
        new JsonText(await join(origin, params.roomId, body, query.omit_members)),
    ),
    route(
      sendJoinV1,
      async ({ params, body }, origin) =>
        new JsonText(`[200,${await join(origin, params.roomId, body)}]`),
    ),
    route(makeLeave, async ({ params: { roomId, userId } }, origin) => {
      await requireOwn(origin, roomId, userId)
      return await membership.makeLeave(origin, roomId, userId)
    }),
    route(sendLeave, async ({ params, body }, origin) => {
      await leave(origin, params.roomId, body)
      return {}
    }),
    route(sendLeaveV1, async ({ params, body }, origin) => {
      await leave(origin, params.roomId, body)
      return [200, {}]
    }),
    route(makeKnock, async ({ params: { roomId, userId }, query }, origin) => {
      await requireOwn(origin, roomId, userId)
      return await membership.makeKnock(origin, roomId, userId, query.ver ?? versionsDefault)
    }),
    route(sendKnock, async ({ params, body }, origin) => {
      await access.requireAllowed(origin, params.roomId)
      const state = await membership.sendKnock(origin, params.roomId, body)
      return { knock_room_state: [...state] }
    }),
    ...inviteRoutes(needs),
    ...thirdPartyRoutes(needs),
  ]
}

function inviteRoutes({ access, membership }: Needs): Route[] {
  async function invite(origin: ServerName, received: ReceivedInvite): Promise<JsonObject> {
    await access.requireAllowed(origin, received.room)
    return await membership.receiveInvite(origin, received)
  }

  return [
    route(sendInvite, async ({ params, body }, origin) => {
      const event = await invite(origin, {
        room: params.roomId,
        eventId: params.eventId,
        roomVersion: body.room_version,
        event: body.event,
        inviteRoomState: body.invite_room_state ?? [],
      })
      return { event }
    }),
    route(sendInviteV1, async ({ params, body }, origin) => {
      const event = await invite(origin, {
        room: params.roomId,
        eventId: params.eventId,
        roomVersion: '1',
        event: body,
        inviteRoomState: strippedStateIn(body),
      })
      return [200, { event }]
    }),
  ]
}

type BindingTold = { readonly body: z.output<typeof onBindThirdParty.body> }

function thirdPartyRoutes({ access, thirdParty }: Needs): Route[] {
  async function onBind({ body: { mxid: user, invites } }: BindingTold): Promise<object> {
    await thirdParty.boundInvites(
      invites
        .filter(({ mxid }) => mxid === user)
        .map(({ room_id: room, sender, signed }) => ({ room, sender, user, signed })),
    )
    return {}
  }

  return [
    route(exchangeThirdPartyInvite, async ({ params: { roomId: room }, body }, origin) => {
      await access.requireAllowed(origin, room)
      const { sender, state_key: user, content } = body
      await thirdParty.exchangeInvite({
        room,
        sender,
        user,
        signed: content.third_party_invite.signed,
      })
      return {}
    }),
    openRoute(onBindThirdParty, onBind),
    openRoute(onBindThirdPartyByPost, onBind),
  ]
}

/** The answer of send_join. */
function joinText(serverName: ServerName, joined: Joined): string {
  const texts = (events: readonly StoredEvent[]) => events.map(({ text }) => text).join(',')
  return (
    `{"origin":${JSON.stringify(serverName)},"event":${joined.event.text},"members_omitted":${joined.membersOmitted},` +
    `"servers_in_room":${JSON.stringify(joined.serversInRoom)},` +
    `"state":[${texts(joined.state)}],"auth_chain":[${texts(joined.authChain)}]}`
  )
}

/** In version 1 of the endpoint the stripped state stands in `unsigned`. */
function strippedStateIn(event: JsonObject): readonly JsonObject[] {
  const state = arrayAt(objectAt(event, 'unsigned') ?? {}, 'invite_room_state') ?? []
  return state.filter(isObject).slice(0, strippedStateMax)
}
