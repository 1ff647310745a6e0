import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { roomAliasSchema, roomIdSchema, serverNameSchema, userIdSchema } from '../../ids.ts'
import { jsonObject, queryBoolean, queryLimit } from '../fields.ts'
import { open, serverSpec, signed } from './declare.ts'

/** Most rooms that a page of the public directory has. */
export const publicRoomsMax = 500

export const getFederationVersion = endpoint({
  ...open,
  name: 'getFederationVersion',
  method: 'GET',
  paths: ['/_matrix/federation/v1/version'],
  reply: z.looseObject({
    server: z
      .looseObject({ name: z.string().optional(), version: z.string().optional() })
      .optional(),
  }),
  spec: serverSpec('GET', '/_matrix/federation/v1/version'),
})

export const queryDirectory = endpoint({
  ...signed,
  name: 'queryDirectory',
  method: 'GET',
  paths: ['/_matrix/federation/v1/query/directory'],
  query: { room_alias: roomAliasSchema },
  errors: ['M_NOT_FOUND'],
  reply: z.object({ room_id: roomIdSchema, servers: z.array(serverNameSchema).max(10_000) }),
  spec: serverSpec('GET', '/_matrix/federation/v1/query/directory'),
})

export const queryProfile = endpoint({
  ...signed,
  name: 'queryProfile',
  method: 'GET',
  paths: ['/_matrix/federation/v1/query/profile'],
  query: { user_id: userIdSchema, field: z.string().min(1).max(255).optional() },
  errors: ['M_NOT_FOUND'],
  reply: jsonObject,
  spec: serverSpec('GET', '/_matrix/federation/v1/query/profile'),
})

/** Any other query: servers may agree on some of their own. */
export const queryUnknown = endpoint({
  ...signed,
  name: 'queryUnknown',
  method: 'GET',
  paths: ['/_matrix/federation/v1/query/{queryType}'],
  params: { queryType: z.string().max(255) },
  errors: ['M_NOT_FOUND'],
  reply: jsonObject,
  spec: serverSpec('GET', '/_matrix/federation/v1/query/{queryType}'),
})

export const getUserDevices = endpoint({
  ...signed,
  name: 'getUserDevices',
  method: 'GET',
  paths: ['/_matrix/federation/v1/user/devices/{userId}'],
  params: { userId: userIdSchema },
  errors: ['M_NOT_FOUND'],
  reply: jsonObject,
  spec: serverSpec('GET', '/_matrix/federation/v1/user/devices/{userId}'),
})

export const queryUserKeys = endpoint({
  ...signed,
  name: 'queryUserKeys',
  method: 'POST',
  paths: ['/_matrix/federation/v1/user/keys/query'],
  body: z.object({ device_keys: jsonObject }),
  reply: jsonObject,
  spec: serverSpec('POST', '/_matrix/federation/v1/user/keys/query'),
})

export const claimUserKeys = endpoint({
  ...signed,
  name: 'claimUserKeys',
  method: 'POST',
  paths: ['/_matrix/federation/v1/user/keys/claim'],
  body: z.object({ one_time_keys: jsonObject }),
  reply: jsonObject,
  spec: serverSpec('POST', '/_matrix/federation/v1/user/keys/claim'),
})

export const getFederationPublicRooms = endpoint({
  ...signed,
  name: 'getFederationPublicRooms',
  method: 'GET',
  paths: ['/_matrix/federation/v1/publicRooms'],
  query: {
    limit: queryLimit(publicRoomsMax).optional(),
    since: z.string().max(255).optional(),
    include_all_networks: queryBoolean.optional(),
    third_party_instance_id: z.string().max(255).optional(),
  },
  reply: jsonObject,
  spec: serverSpec('GET', '/_matrix/federation/v1/publicrooms'),
})

export const searchFederationPublicRooms = endpoint({
  ...signed,
  name: 'searchFederationPublicRooms',
  method: 'POST',
  paths: ['/_matrix/federation/v1/publicRooms'],
  body: z.object({
    limit: z.number().int().min(0).optional(),
    since: z.string().max(255).optional(),
    filter: z
      .looseObject({
        generic_search_term: z.string().max(1024).nullish(),
        room_types: z.array(z.string().max(255).nullable()).max(100).nullish(),
      })
      .optional(),
    include_all_networks: z.boolean().optional(),
    third_party_instance_id: z.string().max(255).optional(),
  }),
  reply: jsonObject,
  spec: serverSpec('POST', '/_matrix/federation/v1/publicrooms'),
})

export const getFederationHierarchy = endpoint({
  ...signed,
  name: 'getFederationHierarchy',
  method: 'GET',
  paths: ['/_matrix/federation/v1/hierarchy/{roomId}'],
  params: { roomId: roomIdSchema },
  query: { suggested_only: queryBoolean.optional() },
  errors: ['M_NOT_FOUND'],
  reply: jsonObject,
  spec: serverSpec('GET', '/_matrix/federation/v1/hierarchy/{roomId}'),
})

export const getOpenidUserinfo = endpoint({
  ...open,
  name: 'getOpenidUserinfo',
  method: 'GET',
  paths: ['/_matrix/federation/v1/openid/userinfo'],
  query: { access_token: z.string().max(255).optional() },
  errors: ['M_UNKNOWN_TOKEN', 'M_MISSING_TOKEN'],
  reply: z.object({ sub: userIdSchema }),
  spec: serverSpec('GET', '/_matrix/federation/v1/openid/userinfo'),
})
