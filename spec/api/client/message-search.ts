import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { jsonObject } from '../fields.ts'

const nearby = z
  .number()
  .int()
  .min(0)
  .transform((limit) => Math.min(limit, 100))

const roomEvents = z.object({
  search_term: z.string().max(1_024),
  keys: z
    .array(z.enum(['content.body', 'content.name', 'content.topic']))
    .max(20)
    .exactOptional(),
  filter: jsonObject.exactOptional(),
  order_by: z.enum(['recent', 'rank']).default('rank'),
  event_context: z
    .object({
      before_limit: nearby.default(5),
      after_limit: nearby.default(5),
      include_profile: z.boolean().default(false),
    })
    .exactOptional(),
  include_state: z.boolean().default(false),
  groupings: z
    .object({
      group_by: z
        .array(z.object({ key: z.enum(['room_id', 'sender']) }))
        .max(20)
        .default([]),
    })
    .exactOptional(),
})

export const searchMessages = endpoint({
  name: 'searchMessages',
  method: 'POST',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_INVALID_PARAM', 'M_BAD_JSON'],
  paths: ['/_matrix/client/v3/search'],
  query: { next_batch: z.string().max(1_024).exactOptional() },
  body: z.object({ search_categories: z.object({ room_events: roomEvents.exactOptional() }) }),
  reply: z.object({ search_categories: jsonObject }),
})
