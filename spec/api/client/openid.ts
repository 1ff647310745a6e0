import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { userIdSchema } from '../../ids.ts'
import { jsonObject } from '../fields.ts'

export const requestOpenidToken = endpoint({
  name: 'requestOpenidToken',
  method: 'POST',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/user/{userId}/openid/request_token'],
  params: { userId: userIdSchema },
  body: jsonObject,
  reply: z.object({
    access_token: z.string(),
    token_type: z.literal('Bearer'),
    matrix_server_name: z.string(),
    expires_in: z.number().int(),
  }),
})
