import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { openObject } from '../fields.ts'

export const pingAppservice = endpoint({
  name: 'pingAppservice',
  method: 'POST',
  auth: 'appservice',
  rateLimit: 'read',
  errors: ['M_URL_NOT_SET', 'M_BAD_STATUS', 'M_CONNECTION_FAILED', 'M_CONNECTION_TIMEOUT'],
  paths: ['/_matrix/client/v1/appservice/{appserviceId}/ping'],
  params: { appserviceId: z.string().max(1_024) },
  body: openObject({ transaction_id: z.string().max(1_024).exactOptional() }),
  reply: z.object({ duration_ms: z.number().int() }),
  spec: 'application-service-api/#post_matrixclientv1appserviceappserviceidping',
})
