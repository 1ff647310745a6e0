import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { eventIdSchema, roomIdSchema, serverNameSchema, userIdSchema } from '../../ids.ts'
import { jsonObject, nothing, openObject, queryBoolean, queryList } from '../fields.ts'
import { open, serverSpec, signed } from './declare.ts'
import { stateEventsMax } from './events.ts'

/** Most room versions that a joining server may name. */
const versionsMax = 100
/** Most events of stripped state that come with an invite or a knock. */
export const strippedStateMax = 100

/** Most invites of one address. */
const boundInvitesMax = 50

const signedThirdParty = openObject({
  mxid: userIdSchema,
  token: z.string().min(1).max(255),
  signatures: jsonObject,
})
const member = { roomId: roomIdSchema, userId: userIdSchema }
const eventInRoom = { roomId: roomIdSchema, eventId: eventIdSchema }
const versions = queryList(z.string().max(255), versionsMax)
const template = z.object({ room_version: z.string().max(255).optional(), event: jsonObject })

export const makeJoin = endpoint({
  ...signed,
  name: 'makeJoin',
  method: 'GET',
  paths: ['/_matrix/federation/v1/make_join/{roomId}/{userId}'],
  params: member,
  // Without the parameter the caller supports room version 1 only.
  query: { ver: versions.optional() },
  errors: [
    'M_INCOMPATIBLE_ROOM_VERSION',
    'M_FORBIDDEN',
    'M_NOT_FOUND',
    'M_UNABLE_TO_AUTHORISE_JOIN',
    'M_UNABLE_TO_GRANT_JOIN',
  ],
  reply: template,
  spec: serverSpec('GET', '/_matrix/federation/v1/make_join/{roomId}/{userId}'),
})

const joinAnswer = z.looseObject({
  event: jsonObject.optional(),
  state: z.array(jsonObject).max(stateEventsMax),
  auth_chain: z.array(jsonObject).max(stateEventsMax),
  members_omitted: z.boolean().optional(),
  servers_in_room: z.array(serverNameSchema).max(100_000).optional(),
})

export const sendJoin = endpoint({
  ...signed,
  name: 'sendJoin',
  method: 'PUT',
  paths: ['/_matrix/federation/v2/send_join/{roomId}/{eventId}'],
  params: eventInRoom,
  query: { omit_members: queryBoolean.optional() },
  body: jsonObject,
  errors: ['M_INVALID_PARAM', 'M_FORBIDDEN', 'M_NOT_FOUND'],
  reply: joinAnswer,
  spec: serverSpec('PUT', '/_matrix/federation/v2/send_join/{roomId}/{eventId}'),
})

/** Deprecated; its answer stands in an array behind the number 200. */
export const sendJoinV1 = endpoint({
  ...signed,
  name: 'sendJoinV1',
  method: 'PUT',
  paths: ['/_matrix/federation/v1/send_join/{roomId}/{eventId}'],
  params: eventInRoom,
  body: jsonObject,
  errors: ['M_INVALID_PARAM', 'M_FORBIDDEN', 'M_NOT_FOUND'],
  reply: z.tuple([z.literal(200), joinAnswer]),
  spec: serverSpec('PUT', '/_matrix/federation/v1/send_join/{roomId}/{eventId}'),
})

export const makeLeave = endpoint({
  ...signed,
  name: 'makeLeave',
  method: 'GET',
  paths: ['/_matrix/federation/v1/make_leave/{roomId}/{userId}'],
  params: member,
  errors: ['M_FORBIDDEN', 'M_NOT_FOUND'],
  reply: template,
  spec: serverSpec('GET', '/_matrix/federation/v1/make_leave/{roomId}/{userId}'),
})

export const sendLeave = endpoint({
  ...signed,
  name: 'sendLeave',
  method: 'PUT',
  paths: ['/_matrix/federation/v2/send_leave/{roomId}/{eventId}'],
  params: eventInRoom,
  body: jsonObject,
  errors: ['M_INVALID_PARAM', 'M_FORBIDDEN', 'M_NOT_FOUND'],
  reply: nothing,
  spec: serverSpec('PUT', '/_matrix/federation/v2/send_leave/{roomId}/{eventId}'),
})

/** Deprecated; its answer stands in an array behind the number 200. */
export const sendLeaveV1 = endpoint({
  ...signed,
  name: 'sendLeaveV1',
  method: 'PUT',
  paths: ['/_matrix/federation/v1/send_leave/{roomId}/{eventId}'],
  params: eventInRoom,
  body: jsonObject,
  errors: ['M_INVALID_PARAM', 'M_FORBIDDEN', 'M_NOT_FOUND'],
  reply: z.tuple([z.literal(200), nothing]),
  spec: serverSpec('PUT', '/_matrix/federation/v1/send_leave/{roomId}/{eventId}'),
})

export const makeKnock = endpoint({
  ...signed,
  name: 'makeKnock',
  method: 'GET',
  paths: ['/_matrix/federation/v1/make_knock/{roomId}/{userId}'],
  params: member,
  query: { ver: versions.optional() },
  errors: ['M_INCOMPATIBLE_ROOM_VERSION', 'M_FORBIDDEN', 'M_NOT_FOUND'],
  reply: template,
  spec: serverSpec('GET', '/_matrix/federation/v1/make_knock/{roomId}/{userId}'),
})

export const sendKnock = endpoint({
  ...signed,
  name: 'sendKnock',
  method: 'PUT',
  paths: ['/_matrix/federation/v1/send_knock/{roomId}/{eventId}'],
  params: eventInRoom,
  body: jsonObject,
  errors: ['M_INVALID_PARAM', 'M_FORBIDDEN', 'M_NOT_FOUND'],
  reply: z.object({ knock_room_state: z.array(jsonObject).max(strippedStateMax) }),
  spec: serverSpec('PUT', '/_matrix/federation/v1/send_knock/{roomId}/{eventId}'),
})

export const sendInvite = endpoint({
  ...signed,
  name: 'sendInvite',
  method: 'PUT',
  paths: ['/_matrix/federation/v2/invite/{roomId}/{eventId}'],
  params: eventInRoom,
  body: z.object({
    room_version: z.string().max(255),
    event: jsonObject,
    invite_room_state: z.array(jsonObject).max(strippedStateMax).optional(),
  }),
  errors: ['M_INVALID_PARAM', 'M_FORBIDDEN', 'M_INCOMPATIBLE_ROOM_VERSION'],
  reply: z.object({ event: jsonObject }),
  spec: serverSpec('PUT', '/_matrix/federation/v2/invite/{roomId}/{eventId}'),
})

/** Room versions 1 and 2 only; the body is the event itself, the answer stands behind the number 200. */
export const sendInviteV1 = endpoint({
  ...signed,
  name: 'sendInviteV1',
  method: 'PUT',
  paths: ['/_matrix/federation/v1/invite/{roomId}/{eventId}'],
  params: eventInRoom,
  body: jsonObject,
  errors: ['M_INVALID_PARAM', 'M_FORBIDDEN', 'M_INCOMPATIBLE_ROOM_VERSION'],
  reply: z.tuple([z.literal(200), z.object({ event: jsonObject })]),
  spec: serverSpec('PUT', '/_matrix/federation/v1/invite/{roomId}/{eventId}'),
})

/** A user of the asking server has bound the address that a third-party invite of ours was for. */
export const exchangeThirdPartyInvite = endpoint({
  ...signed,
  name: 'exchangeThirdPartyInvite',
  method: 'PUT',
  paths: ['/_matrix/federation/v1/exchange_third_party_invite/{roomId}'],
  params: { roomId: roomIdSchema },
  body: z.object({
    type: z.literal('m.room.member'),
    room_id: roomIdSchema.optional(),
    sender: userIdSchema,
    state_key: userIdSchema,
    content: z.object({
      membership: z.literal('invite'),
      third_party_invite: z.object({
        display_name: z.string().max(1024),
        signed: signedThirdParty,
      }),
    }),
  }),
  errors: ['M_INVALID_PARAM', 'M_FORBIDDEN', 'M_NOT_FOUND'],
  reply: nothing,
  spec: serverSpec('PUT', '/_matrix/federation/v1/exchange_third_party_invite/{roomId}'),
})

const onBind = {
  ...open,
  paths: ['/_matrix/federation/v1/3pid/onbind'],
  body: z.object({
    medium: z.string().max(255),
    address: z.string().max(1024),
    mxid: userIdSchema,
    invites: z
      .array(
        z.object({
          mxid: userIdSchema,
          room_id: roomIdSchema,
          sender: userIdSchema,
          signed: signedThirdParty,
        }),
      )
      .max(boundInvitesMax),
  }),
  errors: ['M_FORBIDDEN'],
  reply: nothing,
  spec: serverSpec('PUT', '/_matrix/federation/v1/3pid/onbind'),
} as const

/** Told by an identity server, which signs no requests: a user of ours has bound an address. */
export const onBindThirdParty = endpoint({ ...onBind, name: 'onBindThirdParty', method: 'PUT' })

/** As identity servers in fact tell it. */
export const onBindThirdPartyByPost = endpoint({
  ...onBind,
  name: 'onBindThirdPartyByPost',
  method: 'POST',
})
