import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { eventIdSchema, roomIdSchema } from '../../ids.ts'

/** Synapse documents these; tools for operators rely on them. */
const synapse = 'https://element-hq.github.io/synapse/latest/admin_api'
const purgeId = z.string().min(1).max(255)

export const purgeHistory = endpoint({
  name: 'purgeHistory',
  method: 'POST',
  auth: 'admin',
  rateLimit: 'write',
  errors: ['M_NOT_FOUND', 'M_BAD_STATE', 'M_MISSING_PARAM'],
  paths: [
    '/_synapse/admin/v1/purge_history/{roomId}',
    '/_synapse/admin/v1/purge_history/{roomId}/{eventId}',
  ],
  params: { roomId: roomIdSchema, eventId: eventIdSchema.exactOptional() },
  body: z.object({
    delete_local_events: z.boolean().default(false),
    purge_up_to_event_id: eventIdSchema.exactOptional(),
    /** Milliseconds since the epoch. */
    purge_up_to_ts: z.int().min(0).exactOptional(),
  }),
  reply: z.object({ purge_id: z.string() }),
  spec: `${synapse}/purge_history_api.html`,
})

export const getPurgeHistoryStatus = endpoint({
  name: 'getPurgeHistoryStatus',
  method: 'GET',
  auth: 'admin',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND'],
  paths: ['/_synapse/admin/v1/purge_history_status/{purgeId}'],
  params: { purgeId },
  reply: z.object({ status: z.enum(['active', 'complete', 'failed']) }),
  spec: `${synapse}/purge_history_api.html#purge-status-query`,
})

export const deleteRoom = endpoint({
  name: 'deleteRoom',
  method: 'DELETE',
  auth: 'admin',
  rateLimit: 'write',
  errors: ['M_BAD_STATE', 'M_INVALID_PARAM'],
  paths: ['/_synapse/admin/v2/rooms/{roomId}'],
  params: { roomId: roomIdSchema },
  body: z.object({
    block: z.boolean().default(false),
    purge: z.boolean().default(true),
    force_purge: z.boolean().default(false),
    message: z.string().max(2_000).exactOptional(),
    new_room_user_id: z.string().max(255).exactOptional(),
    room_name: z.string().max(255).exactOptional(),
  }),
  reply: z.object({ delete_id: z.string() }),
  spec: `${synapse}/rooms.html#version-2-new-version`,
})

const shutdown = z.object({
  kicked_users: z.array(z.string()),
  failed_to_kick_users: z.array(z.string()),
  local_aliases: z.array(z.string()),
  new_room_id: z.null(),
})
const deletionStatus = {
  status: z.enum(['shutting_down', 'purging', 'complete', 'failed']),
  shutdown_room: shutdown,
}

export const getRoomDeletions = endpoint({
  name: 'getRoomDeletions',
  method: 'GET',
  auth: 'admin',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND'],
  paths: ['/_synapse/admin/v2/rooms/{roomId}/delete_status'],
  params: { roomId: roomIdSchema },
  reply: z.object({ results: z.array(z.object({ delete_id: z.string(), ...deletionStatus })) }),
  spec: `${synapse}/rooms.html#query-by-room_id`,
})

export const getRoomDeletion = endpoint({
  name: 'getRoomDeletion',
  method: 'GET',
  auth: 'admin',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND'],
  paths: ['/_synapse/admin/v2/rooms/delete_status/{deleteId}'],
  params: { deleteId: purgeId },
  reply: z.object(deletionStatus),
  spec: `${synapse}/rooms.html#query-by-delete_id`,
})

export const getRoomBlock = endpoint({
  name: 'getRoomBlock',
  method: 'GET',
  auth: 'admin',
  rateLimit: 'read',
  paths: ['/_synapse/admin/v1/rooms/{roomId}/block'],
  params: { roomId: roomIdSchema },
  reply: z.object({ block: z.boolean() }),
  spec: `${synapse}/rooms.html#get-block-status`,
})

export const setRoomBlock = endpoint({
  name: 'setRoomBlock',
  method: 'PUT',
  auth: 'admin',
  rateLimit: 'write',
  paths: ['/_synapse/admin/v1/rooms/{roomId}/block'],
  params: { roomId: roomIdSchema },
  body: z.object({ block: z.boolean() }),
  reply: z.object({ block: z.boolean() }),
  spec: `${synapse}/rooms.html#block-or-unblock-a-room`,
})
