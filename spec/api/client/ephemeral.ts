import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { eventIdSchema, roomIdSchema, userIdSchema } from '../../ids.ts'
import { nothing } from '../fields.ts'

const roomId = roomIdSchema
const userId = userIdSchema

export const sendReceipt = endpoint({
  name: 'sendReceipt',
  method: 'POST',
  auth: 'token',
  rateLimit: 'send',
  errors: ['M_INVALID_PARAM'],
  paths: ['/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}'],
  params: {
    roomId,
    receiptType: z.enum(['m.read', 'm.read.private', 'm.fully_read']),
    eventId: eventIdSchema,
  },
  body: z.object({ thread_id: z.string().min(1).max(255).exactOptional() }),
  reply: nothing,
})

export const setReadMarkers = endpoint({
  name: 'setReadMarkers',
  method: 'POST',
  auth: 'token',
  rateLimit: 'send',
  paths: ['/_matrix/client/v3/rooms/{roomId}/read_markers'],
  params: { roomId },
  body: z.object({
    'm.fully_read': eventIdSchema.nullable().exactOptional(),
    'm.read': eventIdSchema.nullable().exactOptional(),
    'm.read.private': eventIdSchema.nullable().exactOptional(),
  }),
  reply: nothing,
})

export const setTyping = endpoint({
  name: 'setTyping',
  method: 'PUT',
  auth: 'token',
  rateLimit: 'send',
  errors: ['M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/rooms/{roomId}/typing/{userId}'],
  params: { roomId, userId },
  body: z.object({ typing: z.boolean(), timeout: z.number().int().min(0).exactOptional() }),
  reply: nothing,
})

export const getPresence = endpoint({
  name: 'getPresence',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_FORBIDDEN', 'M_NOT_FOUND'],
  paths: ['/_matrix/client/v3/presence/{userId}/status'],
  params: { userId },
  reply: z.object({
    presence: z.string(),
    last_active_ago: z.number().int().exactOptional(),
    status_msg: z.string().nullable().exactOptional(),
    currently_active: z.boolean().exactOptional(),
  }),
})

export const setPresence = endpoint({
  name: 'setPresence',
  method: 'PUT',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/presence/{userId}/status'],
  params: { userId },
  body: z.object({
    presence: z.enum(['online', 'offline', 'unavailable', 'org.matrix.msc3026.busy']),
    status_msg: z.string().max(1024).nullable().exactOptional(),
  }),
  reply: nothing,
})
