import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { eventIdSchema, userIdSchema } from '../../ids.ts'
import { jsonObject } from '../fields.ts'

const base = '/_synapse/admin/v1/send_server_notice'
const about = {
  auth: 'admin',
  rateLimit: 'write',
  errors: ['M_NOT_FOUND'],
  body: z.object({
    user_id: userIdSchema,
    type: z.string().min(1).max(255).default('m.room.message'),
    state_key: z.string().max(255).exactOptional(),
    content: jsonObject,
  }),
  reply: z.object({ event_id: eventIdSchema }),
  spec: 'https://element-hq.github.io/synapse/latest/admin_api/server_notices.html',
} as const

export const sendServerNotice = endpoint({
  name: 'sendServerNotice',
  method: 'POST',
  paths: [base],
  ...about,
})

export const sendServerNoticeOnce = endpoint({
  name: 'sendServerNoticeOnce',
  method: 'PUT',
  paths: [`${base}/{txnId}`],
  params: { txnId: z.string().min(1).max(255) },
  ...about,
})
