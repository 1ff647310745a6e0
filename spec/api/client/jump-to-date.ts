import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { roomIdSchema } from '../../ids.ts'
import { direction, queryInteger } from '../fields.ts'

export const getEventByTimestamp = endpoint({
  name: 'getEventByTimestamp',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND', 'M_FORBIDDEN'],
  paths: ['/_matrix/client/v1/rooms/{roomId}/timestamp_to_event'],
  params: { roomId: roomIdSchema },
  query: { ts: queryInteger({ min: 0 }), dir: direction.default('f') },
  reply: z.object({ event_id: z.string(), origin_server_ts: z.number().int() }),
})
