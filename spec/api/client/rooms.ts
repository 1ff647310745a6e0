import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { roomAliasSchema, roomIdSchema, serverNameSchema, userIdSchema } from '../../ids.ts'
import { jsonObject, nothing, openObject, queryList, reason } from '../fields.ts'

const roomId = roomIdSchema
const roomIdOrAlias = z.union([roomIdSchema, roomAliasSchema])
const target = z.object({ user_id: userIdSchema, reason })
/** {@link https://spec.matrix.org/v1.19/client-server-api/#thirdparty_post_matrixclientv3roomsroomidinvite} */
const thirdParty = z.object({
  id_server: serverNameSchema,
  id_access_token: z.string().max(4096),
  medium: z.string().min(1).max(255),
  address: z.string().min(1).max(1024),
})
/** {@link https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias} */
const thirdPartySigned = z
  .object({
    sender: userIdSchema,
    mxid: userIdSchema,
    token: z.string().min(1).max(255),
    signatures: jsonObject,
  })
  .exactOptional()
/** Servers to ask for a room; more than these are not tried. */
const via = queryList(serverNameSchema, 50).exactOptional()
const joined = z.object({ room_id: z.string() })

export const createRoom = endpoint({
  name: 'createRoom',
  method: 'POST',
  auth: 'token',
  rateLimit: 'join',
  errors: ['M_ROOM_IN_USE', 'M_UNSUPPORTED_ROOM_VERSION', 'M_INVALID_ROOM_STATE'],
  paths: ['/_matrix/client/v3/createRoom'],
  body: z.object({
    creation_content: jsonObject.exactOptional(),
    initial_state: z
      .array(
        z.object({
          type: z.string().max(255),
          state_key: z.string().max(255).exactOptional(),
          content: jsonObject,
        }),
      )
      .max(1000)
      .exactOptional(),
    invite: z.array(userIdSchema).max(1000).exactOptional(),
    invite_3pid: z.array(thirdParty).max(100).exactOptional(),
    is_direct: z.boolean().exactOptional(),
    name: z.string().max(16_384).nullable().exactOptional(),
    topic: z.string().max(16_384).nullable().exactOptional(),
    power_level_content_override: jsonObject.exactOptional(),
    preset: z.enum(['private_chat', 'public_chat', 'trusted_private_chat']).exactOptional(),
    room_alias_name: z.string().max(255).nullable().exactOptional(),
    room_version: z.string().max(32).exactOptional(),
    visibility: z.enum(['public', 'private']).exactOptional(),
  }),
  reply: joined,
})

export const upgradeRoom = endpoint({
  name: 'upgradeRoom',
  method: 'POST',
  auth: 'token',
  rateLimit: 'join',
  errors: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_UNSUPPORTED_ROOM_VERSION'],
  paths: ['/_matrix/client/v3/rooms/{roomId}/upgrade'],
  params: { roomId },
  body: z.object({
    new_version: z.string().max(32),
    additional_creators: z.array(userIdSchema).max(1000).exactOptional(),
  }),
  reply: z.object({ replacement_room: z.string() }),
})

export const joinRoom = endpoint({
  name: 'joinRoom',
  method: 'POST',
  auth: 'guest',
  rateLimit: 'join',
  errors: [
    'M_FORBIDDEN',
    'M_NOT_FOUND',
    'M_INCOMPATIBLE_ROOM_VERSION',
    'M_UNABLE_TO_AUTHORISE_JOIN',
  ],
  paths: ['/_matrix/client/v3/join/{roomIdOrAlias}'],
  params: { roomIdOrAlias },
  query: { via, server_name: via },
  body: openObject({ reason, third_party_signed: thirdPartySigned }),
  reply: joined,
})

export const joinRoomById = endpoint({
  name: 'joinRoomById',
  method: 'POST',
  auth: 'guest',
  rateLimit: 'join',
  errors: [
    'M_FORBIDDEN',
    'M_NOT_FOUND',
    'M_INCOMPATIBLE_ROOM_VERSION',
    'M_UNABLE_TO_AUTHORISE_JOIN',
  ],
  paths: ['/_matrix/client/v3/rooms/{roomId}/join'],
  params: { roomId },
  query: { via, server_name: via },
  body: openObject({ reason, third_party_signed: thirdPartySigned }),
  reply: joined,
})

export const knockRoom = endpoint({
  name: 'knockRoom',
  method: 'POST',
  auth: 'token',
  rateLimit: 'join',
  errors: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INCOMPATIBLE_ROOM_VERSION'],
  paths: ['/_matrix/client/v3/knock/{roomIdOrAlias}'],
  params: { roomIdOrAlias },
  query: { via, server_name: via },
  body: z.object({ reason }),
  reply: joined,
})

export const leaveRoom = endpoint({
  name: 'leaveRoom',
  method: 'POST',
  auth: 'guest',
  rateLimit: 'write',
  errors: ['M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/rooms/{roomId}/leave'],
  params: { roomId },
  body: z.object({ reason }),
  reply: nothing,
})

export const forgetRoom = endpoint({
  name: 'forgetRoom',
  method: 'POST',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_UNKNOWN'],
  paths: ['/_matrix/client/v3/rooms/{roomId}/forget'],
  params: { roomId },
  reply: nothing,
})

export const inviteUser = endpoint({
  name: 'inviteUser',
  method: 'POST',
  auth: 'token',
  rateLimit: 'join',
  errors: ['M_FORBIDDEN', 'M_UNSUPPORTED_ROOM_VERSION'],
  paths: ['/_matrix/client/v3/rooms/{roomId}/invite'],
  params: { roomId },
  // Either whom, or the address of somebody.
  body: thirdParty.partial().extend({ user_id: userIdSchema.exactOptional(), reason }),
  reply: nothing,
})

export const kickUser = endpoint({
  name: 'kickUser',
  method: 'POST',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/rooms/{roomId}/kick'],
  params: { roomId },
  body: target,
  reply: nothing,
})

export const banUser = endpoint({
  name: 'banUser',
  method: 'POST',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/rooms/{roomId}/ban'],
  params: { roomId },
  body: target,
  reply: nothing,
})

export const unbanUser = endpoint({
  name: 'unbanUser',
  method: 'POST',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_FORBIDDEN', 'M_BAD_STATE'],
  paths: ['/_matrix/client/v3/rooms/{roomId}/unban'],
  params: { roomId },
  body: target,
  reply: nothing,
})

export const getJoinedRooms = endpoint({
  name: 'getJoinedRooms',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'read',
  paths: ['/_matrix/client/v3/joined_rooms'],
  reply: z.object({ joined_rooms: z.array(z.string()) }),
})
