import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { eventIdSchema, roomIdSchema } from '../../ids.ts'
import { clientEvent, direction, json, jsonObject, queryLimit } from '../fields.ts'

const roomId = roomIdSchema
const eventId = eventIdSchema
const membership = z.enum(['join', 'invite', 'knock', 'leave', 'ban']).exactOptional()
const token = z.string().max(512)
/** An event filter as JSON text. */
const filter = z.string().max(65_536).exactOptional()
/** Events of a page of history. */
const pageMax = 1000

export const getEvent = endpoint({
  name: 'getEvent',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND'],
  paths: ['/_matrix/client/v3/rooms/{roomId}/event/{eventId}'],
  params: { roomId, eventId },
  reply: clientEvent,
})

export const getEventContext = endpoint({
  name: 'getEventContext',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND'],
  paths: ['/_matrix/client/v3/rooms/{roomId}/context/{eventId}'],
  params: { roomId, eventId },
  query: { limit: queryLimit(pageMax).default(10), filter },
  reply: z.looseObject({ event: clientEvent }),
})

export const getMessages = endpoint({
  name: 'getMessages',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'read',
  errors: ['M_FORBIDDEN', 'M_INVALID_PARAM'],
  paths: ['/_matrix/client/v3/rooms/{roomId}/messages'],
  params: { roomId },
  query: {
    from: token.exactOptional(),
    to: token.exactOptional(),
    dir: direction,
    limit: queryLimit(pageMax).default(10),
    filter,
  },
  reply: z.object({
    start: z.string(),
    end: z.string().exactOptional(),
    chunk: z.array(clientEvent),
    state: z.array(clientEvent).exactOptional(),
  }),
})

export const getState = endpoint({
  name: 'getState',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'read',
  errors: ['M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/rooms/{roomId}/state'],
  params: { roomId },
  reply: z.array(clientEvent),
})

export const getStateEvent = endpoint({
  name: 'getStateEvent',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'read',
  errors: ['M_FORBIDDEN', 'M_NOT_FOUND'],
  paths: [
    '/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}',
    '/_matrix/client/v3/rooms/{roomId}/state/{eventType}/',
    '/_matrix/client/v3/rooms/{roomId}/state/{eventType}',
  ],
  params: { roomId, eventType: z.string().max(255), stateKey: z.string().max(255).default('') },
  query: { format: z.enum(['content', 'event']).default('content') },
  reply: jsonObject,
})

export const getMembers = endpoint({
  name: 'getMembers',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'read',
  errors: ['M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/rooms/{roomId}/members'],
  params: { roomId },
  query: { at: token.exactOptional(), membership, not_membership: membership },
  reply: z.object({ chunk: z.array(clientEvent) }),
})

export const getJoinedMembers = endpoint({
  name: 'getJoinedMembers',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/rooms/{roomId}/joined_members'],
  params: { roomId },
  reply: z.object({
    joined: z.record(
      z.string(),
      z.object({ display_name: json.exactOptional(), avatar_url: json.exactOptional() }),
    ),
  }),
})
