import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { jsonObject } from '../fields.ts'

export const searchUsers = endpoint({
  name: 'searchUsers',
  method: 'POST',
  auth: 'token',
  rateLimit: 'read',
  paths: ['/_matrix/client/v3/user_directory/search'],
  body: z.object({ search_term: z.string().max(1024), limit: z.number().int().min(0).default(10) }),
  reply: z.object({ limited: z.boolean(), results: z.array(jsonObject) }),
})
