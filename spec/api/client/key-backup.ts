import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { roomIdSchema } from '../../ids.ts'
import { jsonObject, nothing, openObject } from '../fields.ts'

const version = z.string().max(64)
const sessionId = z.string().max(512)
const session = openObject({
  first_message_index: z.number().int(),
  forwarded_count: z.number().int(),
  is_verified: z.boolean(),
  session_data: jsonObject,
})
const room = z.object({ sessions: z.record(z.string().max(512), session) })
const written = z.object({ etag: z.string(), count: z.number().int() })
const backup = z.object({
  algorithm: z.string(),
  auth_data: jsonObject,
  count: z.number().int(),
  etag: z.string(),
  version: z.string(),
})
const wrongVersion = ['M_NOT_FOUND', 'M_WRONG_ROOM_KEYS_VERSION']

export const getBackup = endpoint({
  name: 'getBackup',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND'],
  paths: ['/_matrix/client/v3/room_keys/version', '/_matrix/client/unstable/room_keys/version'],
  reply: backup,
})

export const createBackup = endpoint({
  name: 'createBackup',
  method: 'POST',
  auth: 'token',
  rateLimit: 'write',
  paths: ['/_matrix/client/v3/room_keys/version', '/_matrix/client/unstable/room_keys/version'],
  body: z.object({ algorithm: z.string().max(255), auth_data: jsonObject }),
  reply: z.object({ version: z.string() }),
})

export const getBackupVersion = endpoint({
  name: 'getBackupVersion',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND'],
  paths: [
    '/_matrix/client/v3/room_keys/version/{version}',
    '/_matrix/client/unstable/room_keys/version/{version}',
  ],
  params: { version },
  reply: backup,
})

export const updateBackupVersion = endpoint({
  name: 'updateBackupVersion',
  method: 'PUT',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_NOT_FOUND', 'M_INVALID_PARAM'],
  paths: [
    '/_matrix/client/v3/room_keys/version/{version}',
    '/_matrix/client/unstable/room_keys/version/{version}',
  ],
  params: { version },
  body: z.object({
    algorithm: z.string().max(255),
    auth_data: jsonObject,
    version: version.exactOptional(),
  }),
  reply: nothing,
})

export const deleteBackupVersion = endpoint({
  name: 'deleteBackupVersion',
  method: 'DELETE',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_NOT_FOUND'],
  paths: [
    '/_matrix/client/v3/room_keys/version/{version}',
    '/_matrix/client/unstable/room_keys/version/{version}',
  ],
  params: { version },
  reply: nothing,
})

const allKeys = '/room_keys/keys'
const roomKeys = '/room_keys/keys/{roomId}'
const sessionKeys = '/room_keys/keys/{roomId}/{sessionId}'
const both = (path: string): [string, string] => [
  `/_matrix/client/v3${path}`,
  `/_matrix/client/unstable${path}`,
]

export const getAllRoomKeys = endpoint({
  name: 'getAllRoomKeys',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: wrongVersion,
  paths: both(allKeys),
  query: { version },
  reply: jsonObject,
})

export const putAllRoomKeys = endpoint({
  name: 'putAllRoomKeys',
  method: 'PUT',
  auth: 'token',
  rateLimit: 'write',
  errors: wrongVersion,
  paths: both(allKeys),
  query: { version },
  body: z.object({ rooms: z.record(roomIdSchema, room) }),
  reply: written,
})

export const deleteAllRoomKeys = endpoint({
  name: 'deleteAllRoomKeys',
  method: 'DELETE',
  auth: 'token',
  rateLimit: 'write',
  errors: wrongVersion,
  paths: both(allKeys),
  query: { version },
  reply: written,
})

export const getRoomKeys = endpoint({
  name: 'getRoomKeys',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: wrongVersion,
  paths: both(roomKeys),
  params: { roomId: roomIdSchema },
  query: { version },
  reply: jsonObject,
})

export const putRoomKeys = endpoint({
  name: 'putRoomKeys',
  method: 'PUT',
  auth: 'token',
  rateLimit: 'write',
  errors: wrongVersion,
  paths: both(roomKeys),
  params: { roomId: roomIdSchema },
  query: { version },
  body: room,
  reply: written,
})

export const deleteRoomKeys = endpoint({
  name: 'deleteRoomKeys',
  method: 'DELETE',
  auth: 'token',
  rateLimit: 'write',
  errors: wrongVersion,
  paths: both(roomKeys),
  params: { roomId: roomIdSchema },
  query: { version },
  reply: written,
})

export const getSessionKey = endpoint({
  name: 'getSessionKey',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: wrongVersion,
  paths: both(sessionKeys),
  params: { roomId: roomIdSchema, sessionId },
  query: { version },
  reply: jsonObject,
})

export const putSessionKey = endpoint({
  name: 'putSessionKey',
  method: 'PUT',
  auth: 'token',
  rateLimit: 'write',
  errors: wrongVersion,
  paths: both(sessionKeys),
  params: { roomId: roomIdSchema, sessionId },
  query: { version },
  body: session,
  reply: written,
})

export const deleteSessionKey = endpoint({
  name: 'deleteSessionKey',
  method: 'DELETE',
  auth: 'token',
  rateLimit: 'write',
  errors: wrongVersion,
  paths: both(sessionKeys),
  params: { roomId: roomIdSchema, sessionId },
  query: { version },
  reply: written,
})
