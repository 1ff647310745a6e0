import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { eventIdSchema, roomIdSchema } from '../../ids.ts'
import { clientEvent, jsonObject, queryBoolean, queryInteger, queryLimit } from '../fields.ts'

/** Deprecated ways to follow rooms, and the preview of rooms that one is not in. */

/** Events of each room of a snapshot. */
const limit = queryLimit(100).default(10)

export const getEvents = endpoint({
  name: 'getEvents',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'none',
  errors: ['M_FORBIDDEN', 'M_INVALID_PARAM'],
  paths: ['/_matrix/client/v3/events', '/_matrix/client/api/v1/events'],
  query: {
    from: z.string().max(512).exactOptional(),
    timeout: queryInteger({ min: 0 }).default(30_000),
    room_id: roomIdSchema.exactOptional(),
  },
  reply: z.object({ start: z.string(), end: z.string(), chunk: z.array(jsonObject) }),
})

export const getOneEvent = endpoint({
  name: 'getOneEvent',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND'],
  paths: ['/_matrix/client/v3/events/{eventId}', '/_matrix/client/api/v1/events/{eventId}'],
  params: { eventId: eventIdSchema },
  reply: clientEvent,
})

export const initialSync = endpoint({
  name: 'initialSync',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  paths: ['/_matrix/client/v3/initialSync', '/_matrix/client/api/v1/initialSync'],
  query: { limit, archived: queryBoolean.default(false) },
  reply: z.looseObject({ end: z.string(), rooms: z.array(jsonObject) }),
})

export const roomInitialSync = endpoint({
  name: 'roomInitialSync',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'read',
  errors: ['M_FORBIDDEN'],
  paths: [
    '/_matrix/client/v3/rooms/{roomId}/initialSync',
    '/_matrix/client/api/v1/rooms/{roomId}/initialSync',
  ],
  params: { roomId: roomIdSchema },
  query: { limit },
  reply: z.looseObject({ room_id: z.string() }),
})
