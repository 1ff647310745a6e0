import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { serverNameSchema } from '../../ids.ts'
import { nothing, queryInteger, queryLimit } from '../fields.ts'

/** Which servers do not answer, as administration tools for Synapse ask it. */
const manual =
  'https://element-hq.github.io/synapse/latest/usage/administration/admin_api/federation.html'
const destinations = '/_synapse/admin/v1/federation/destinations'
const rowsMax = 1_000

const page = {
  from: queryInteger({ min: 0 }).default(0),
  limit: queryLimit(rowsMax).default(100),
  dir: z.enum(['f', 'b']).default('f'),
}

/** Times are milliseconds since the epoch; zero and null while the server answers. */
const destination = z.object({
  destination: serverNameSchema,
  retry_last_ts: z.int(),
  retry_interval: z.int(),
  failure_ts: z.int().nullable(),
  last_successful_stream_ordering: z.int().nullable(),
})

const common = {
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_FORBIDDEN', 'M_NOT_FOUND'],
  spec: manual,
} as const

export const listDestinations = endpoint({
  ...common,
  name: 'listDestinations',
  method: 'GET',
  paths: [destinations],
  query: {
    ...page,
    destination: z.string().max(255).default(''),
    order_by: z
      .enum([
        'destination',
        'retry_last_ts',
        'retry_interval',
        'failure_ts',
        'last_successful_stream_ordering',
      ])
      .default('destination'),
  },
  reply: z.object({
    destinations: z.array(destination),
    total: z.int(),
    next_token: z.string().exactOptional(),
  }),
})

export const getDestination = endpoint({
  ...common,
  name: 'getDestination',
  method: 'GET',
  paths: [`${destinations}/{destination}`],
  params: { destination: serverNameSchema },
  reply: destination,
})

export const getDestinationRooms = endpoint({
  ...common,
  name: 'getDestinationRooms',
  method: 'GET',
  paths: [`${destinations}/{destination}/rooms`],
  params: { destination: serverNameSchema },
  query: page,
  reply: z.object({
    rooms: z.array(z.object({ room_id: z.string(), stream_ordering: z.int() })),
    total: z.int(),
    next_token: z.string().exactOptional(),
  }),
})

export const resetDestination = endpoint({
  ...common,
  name: 'resetDestination',
  method: 'POST',
  rateLimit: 'write',
  errors: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_UNKNOWN'],
  paths: [`${destinations}/{destination}/reset_connection`],
  params: { destination: serverNameSchema },
  reply: nothing,
})
