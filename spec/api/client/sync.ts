import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { queryBoolean, queryInteger } from '../fields.ts'

export const sync = endpoint({
  name: 'sync',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'none',
  errors: ['M_INVALID_PARAM'],
  paths: ['/_matrix/client/v3/sync'],
  query: {
    filter: z.string().max(65_536).exactOptional(),
    since: z.string().max(512).exactOptional(),
    full_state: queryBoolean.default(false),
    set_presence: z.enum(['offline', 'online', 'unavailable']).default('online'),
    timeout: queryInteger({ min: 0 }).default(0),
    use_state_after: queryBoolean.default(false),
    'org.matrix.msc4222.use_state_after': queryBoolean.default(false),
  },
  reply: z.looseObject({ next_batch: z.string() }),
})
