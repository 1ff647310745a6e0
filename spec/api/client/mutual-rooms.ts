import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { roomIdSchema, userIdSchema } from '../../ids.ts'

export const getMutualRooms = endpoint({
  name: 'getMutualRooms',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_INVALID_PARAM'],
  paths: [
    '/_matrix/client/v1/mutual_rooms',
    '/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms',
  ],
  query: { user_id: userIdSchema, from: z.string().max(16).exactOptional() },
  reply: z.object({
    joined: z.array(roomIdSchema),
    count: z.number().int(),
    next_batch: z.string().exactOptional(),
  }),
})
