import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { roomAliasSchema, roomIdSchema, serverNameSchema } from '../../ids.ts'
import { jsonObject, queryBoolean, queryInteger, queryList } from '../fields.ts'

/** Rooms of a page, and of one unless the client says how many. */
const roomsMax = 50
/** Servers that may be named for a room; more than these are refused. */
const via = queryList(serverNameSchema, 50).exactOptional()

export const getSpaceHierarchy = endpoint({
  name: 'getSpaceHierarchy',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'read',
  errors: ['M_FORBIDDEN', 'M_INVALID_PARAM'],
  paths: ['/_matrix/client/v1/rooms/{roomId}/hierarchy'],
  params: { roomId: roomIdSchema },
  query: {
    suggested_only: queryBoolean.default(false),
    limit: queryInteger({ min: 1 })
      .transform((limit) => Math.min(limit, roomsMax))
      .default(roomsMax),
    max_depth: queryInteger({ min: 0 }).exactOptional(),
    from: z.string().max(64).exactOptional(),
  },
  reply: z.object({ rooms: z.array(jsonObject), next_batch: z.string().exactOptional() }),
})

export const getRoomSummary = endpoint({
  name: 'getRoomSummary',
  method: 'GET',
  auth: 'optional',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND'],
  paths: [
    '/_matrix/client/v1/room_summary/{roomIdOrAlias}',
    '/_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}',
    '/_matrix/client/unstable/im.nheko.summary/rooms/{roomIdOrAlias}/summary',
  ],
  params: { roomIdOrAlias: z.union([roomIdSchema, roomAliasSchema]) },
  query: { via },
  reply: jsonObject,
})
