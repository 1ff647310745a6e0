import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { jsonObject } from '../fields.ts'
import { serverSpec, signed } from './declare.ts'

/** {@link https://spec.matrix.org/v1.19/server-server-api/#transactions} */
export const transactionPdusMax = 50
export const transactionEdusMax = 100

/** PDUs and EDUs are only seen to be objects here: a bad one must not stop the others. */
export const sendTransaction = endpoint({
  ...signed,
  name: 'sendTransaction',
  method: 'PUT',
  paths: ['/_matrix/federation/v1/send/{txnId}'],
  params: { txnId: z.string().min(1).max(255) },
  body: z.object({
    origin: z.string().max(255).optional(),
    origin_server_ts: z.number().optional(),
    pdus: z.array(z.unknown()).max(transactionPdusMax).optional(),
    edus: z.array(z.unknown()).max(transactionEdusMax).optional(),
  }),
  reply: z.object({ pdus: z.record(z.string(), jsonObject) }),
  spec: serverSpec('PUT', '/_matrix/federation/v1/send/{txnId}'),
})
