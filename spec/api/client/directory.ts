import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { roomAliasSchema, roomIdSchema, serverNameSchema } from '../../ids.ts'
import { jsonObject, nothing, openObject, queryLimit } from '../fields.ts'

const roomAlias = roomAliasSchema
const roomId = roomIdSchema
const visibility = z.enum(['public', 'private'])
/** Rooms of a page of the directory. */
const roomsMax = 500

export const resolveAlias = endpoint({
  name: 'resolveAlias',
  method: 'GET',
  auth: 'optional',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND', 'M_INVALID_PARAM'],
  paths: ['/_matrix/client/v3/directory/room/{roomAlias}'],
  params: { roomAlias },
  reply: z.object({ room_id: z.string(), servers: z.array(z.string()) }),
})

export const createAlias = endpoint({
  name: 'createAlias',
  method: 'PUT',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_UNKNOWN', 'M_INVALID_PARAM'],
  paths: ['/_matrix/client/v3/directory/room/{roomAlias}'],
  params: { roomAlias },
  body: z.object({ room_id: roomId }),
  reply: nothing,
})

export const deleteAlias = endpoint({
  name: 'deleteAlias',
  method: 'DELETE',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_NOT_FOUND', 'M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/directory/room/{roomAlias}'],
  params: { roomAlias },
  reply: nothing,
})

export const getAliases = endpoint({
  name: 'getAliases',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_FORBIDDEN'],
  paths: [
    '/_matrix/client/v3/rooms/{roomId}/aliases',
    '/_matrix/client/unstable/org.matrix.msc2432/rooms/{roomId}/aliases',
  ],
  params: { roomId },
  reply: z.object({ aliases: z.array(z.string()) }),
})

export const getRoomVisibility = endpoint({
  name: 'getRoomVisibility',
  method: 'GET',
  auth: 'optional',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND'],
  paths: ['/_matrix/client/v3/directory/list/room/{roomId}'],
  params: { roomId },
  reply: z.object({ visibility }),
})

export const setRoomVisibility = endpoint({
  name: 'setRoomVisibility',
  method: 'PUT',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_NOT_FOUND', 'M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/directory/list/room/{roomId}'],
  params: { roomId },
  body: z.object({ visibility: visibility.default('public') }),
  reply: nothing,
})

export const setNetworkVisibility = endpoint({
  name: 'setNetworkVisibility',
  method: 'PUT',
  auth: 'appservice',
  rateLimit: 'write',
  errors: ['M_NOT_FOUND', 'M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}'],
  params: { networkId: z.string().min(1).max(255), roomId },
  body: z.object({ visibility }),
  reply: nothing,
})

export const getPublicRooms = endpoint({
  name: 'getPublicRooms',
  method: 'GET',
  auth: 'optional',
  rateLimit: 'read',
  paths: ['/_matrix/client/v3/publicRooms'],
  query: {
    limit: queryLimit(roomsMax).exactOptional(),
    since: z.string().max(512).exactOptional(),
    server: serverNameSchema.exactOptional(),
  },
  reply: jsonObject,
})

export const searchPublicRooms = endpoint({
  name: 'searchPublicRooms',
  method: 'POST',
  auth: 'token',
  rateLimit: 'read',
  paths: ['/_matrix/client/v3/publicRooms'],
  query: { server: serverNameSchema.exactOptional() },
  body: z.object({
    limit: z
      .number()
      .int()
      .min(0)
      .transform((limit) => Math.min(limit, roomsMax))
      .exactOptional(),
    since: z.string().max(512).exactOptional(),
    filter: openObject({
      generic_search_term: z.string().max(255).nullable().exactOptional(),
      room_types: z.array(z.string().max(255).nullable()).max(100).nullable().exactOptional(),
    }).exactOptional(),
    include_all_networks: z.boolean().exactOptional(),
    third_party_instance_id: z.string().max(255).exactOptional(),
  }),
  reply: jsonObject,
})
