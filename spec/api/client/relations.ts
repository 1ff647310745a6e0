import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { eventIdSchema, roomIdSchema } from '../../ids.ts'
import { clientEvent, direction, queryBoolean, queryInteger, queryLimit } from '../fields.ts'

const token = z.string().max(512).exactOptional()
/** Events, or threads, of one page. */
const pageMax = 1000
const threadsMax = 100

const relations = {
  method: 'GET',
  auth: 'guest',
  rateLimit: 'read',
  errors: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_NOT_FOUND'],
  query: {
    dir: direction.default('b'),
    from: token,
    to: token,
    limit: queryLimit(pageMax).default(5),
    recurse: queryBoolean.default(false),
    /** The same before it was part of the specification. */
    'org.matrix.msc3981.recurse': queryBoolean.default(false),
  },
  reply: z.object({
    chunk: z.array(clientEvent),
    next_batch: z.string().exactOptional(),
    prev_batch: z.string().exactOptional(),
    recursion_depth: z.number().int().exactOptional(),
  }),
} as const

const target = { roomId: roomIdSchema, eventId: eventIdSchema }
const text = z.string().max(500)

export const getRelations = endpoint({
  ...relations,
  name: 'getRelations',
  paths: [
    '/_matrix/client/v1/rooms/{roomId}/relations/{eventId}',
    '/_matrix/client/unstable/rooms/{roomId}/relations/{eventId}',
  ],
  params: target,
})

export const getRelationsOfType = endpoint({
  ...relations,
  name: 'getRelationsOfType',
  paths: [
    '/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}',
    '/_matrix/client/unstable/rooms/{roomId}/relations/{eventId}/{relType}',
  ],
  params: { ...target, relType: text },
})

export const getRelationsOfEventType = endpoint({
  ...relations,
  name: 'getRelationsOfEventType',
  paths: [
    '/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}',
    '/_matrix/client/unstable/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}',
  ],
  params: { ...target, relType: text, eventType: text },
})

export const getThreads = endpoint({
  name: 'getThreads',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_FORBIDDEN', 'M_INVALID_PARAM'],
  paths: ['/_matrix/client/v1/rooms/{roomId}/threads'],
  params: { roomId: roomIdSchema },
  query: {
    include: z.enum(['all', 'participated']).default('all'),
    from: token,
    limit: queryInteger({ min: 1 })
      .transform((limit) => Math.min(limit, threadsMax))
      .default(5),
  },
  reply: z.object({ chunk: z.array(clientEvent), next_batch: z.string().exactOptional() }),
})
