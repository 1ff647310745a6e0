import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { eventIdSchema, roomIdSchema, userIdSchema } from '../../ids.ts'
import { jsonObject, nothing, queryInteger, queryLimit } from '../fields.ts'

const reason = z.string().max(16_384)
const reporting = { method: 'POST', auth: 'token', rateLimit: 'write', reply: nothing } as const

export const reportEvent = endpoint({
  ...reporting,
  name: 'reportEvent',
  errors: ['M_NOT_FOUND'],
  paths: ['/_matrix/client/v3/rooms/{roomId}/report/{eventId}'],
  params: { roomId: roomIdSchema, eventId: eventIdSchema },
  // The score is from before v1.18.
  body: z.object({
    reason: reason.exactOptional(),
    score: z.int32().exactOptional(),
  }),
})

export const reportRoom = endpoint({
  ...reporting,
  name: 'reportRoom',
  errors: ['M_NOT_FOUND'],
  paths: ['/_matrix/client/v3/rooms/{roomId}/report'],
  params: { roomId: roomIdSchema },
  body: z.object({ reason }),
})

export const reportUser = endpoint({
  ...reporting,
  name: 'reportUser',
  paths: ['/_matrix/client/v3/users/{userId}/report'],
  params: { userId: userIdSchema },
  body: z.object({ reason }),
})

/** Tools for administrators of Synapse ask for reports so; it lists none of rooms. */
const synapse = '/_synapse/admin/v1'
const manual =
  'https://element-hq.github.io/synapse/latest/admin_api/event_reports.html#show-reported-events'
const administering = { auth: 'admin', rateLimit: 'read', spec: manual } as const
const reportsMax = 1_000

const page = {
  from: queryInteger({ min: 0 }).default(0),
  limit: queryLimit(reportsMax).default(100),
  dir: z.enum(['b', 'f']).default('b'),
  user_id: z.string().max(255).exactOptional(),
}
const ofRoom = { room_id: z.string().max(255).exactOptional() }

const counted = { total: z.int(), next_token: z.int().exactOptional() }
const report = {
  id: z.int(),
  received_ts: z.int(),
  user_id: z.string(),
  reason: z.string().nullable(),
}
const inRoom = {
  room_id: z.string(),
  name: z.string().nullable(),
  canonical_alias: z.string().nullable(),
}
const eventReport = z.object({
  ...report,
  ...inRoom,
  event_id: z.string(),
  score: z.int().nullable(),
  sender: z.string().nullable(),
  /** When one is asked for. */
  event_json: jsonObject.exactOptional(),
})
const roomReport = z.object({ ...report, ...inRoom })
const userReport = z.object({ ...report, target_user_id: z.string() })

export const listEventReports = endpoint({
  ...administering,
  name: 'listEventReports',
  method: 'GET',
  paths: [`${synapse}/event_reports`],
  query: { ...page, ...ofRoom, event_sender_user_id: z.string().max(255).exactOptional() },
  reply: z.object({ event_reports: z.array(eventReport), ...counted }),
})

export const listRoomReports = endpoint({
  ...administering,
  name: 'listRoomReports',
  method: 'GET',
  paths: [`${synapse}/room_reports`],
  query: { ...page, ...ofRoom },
  reply: z.object({ room_reports: z.array(roomReport), ...counted }),
})

export const listUserReports = endpoint({
  ...administering,
  name: 'listUserReports',
  method: 'GET',
  paths: [`${synapse}/user_reports`],
  query: { ...page, target_user_id: z.string().max(255).exactOptional() },
  reply: z.object({ user_reports: z.array(userReport), ...counted }),
})

const one = {
  ...administering,
  errors: ['M_NOT_FOUND'],
  paths: [
    `${synapse}/event_reports/{reportId}`,
    `${synapse}/room_reports/{reportId}`,
    `${synapse}/user_reports/{reportId}`,
  ],
  params: { reportId: queryInteger({ min: 0 }) },
} as const

export const getReport = endpoint({
  ...one,
  name: 'getReport',
  method: 'GET',
  reply: z.union([eventReport, userReport, roomReport]),
})

export const deleteReport = endpoint({
  ...one,
  name: 'deleteReport',
  method: 'DELETE',
  reply: nothing,
})
