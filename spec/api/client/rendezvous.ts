import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { nothing } from '../fields.ts'

const channel = '/_matrix/client/unstable/io.element.msc4388/rendezvous'
const spec = 'https://github.com/matrix-org/matrix-spec-proposals/pull/4388'
const id = z.string().max(255)
const token = z.string().max(255)
/** More than a payload may have: the slice says what is too large. */
const data = z.string().max(65_536)
const expires_in_ms = z.number().int()
const concurrentWrite = 'IO_ELEMENT_MSC4388_CONCURRENT_WRITE'

export const discoverRendezvous = endpoint({
  name: 'discoverRendezvous',
  method: 'GET',
  auth: 'optional',
  rateLimit: 'read',
  errors: ['M_UNRECOGNIZED'],
  paths: [channel],
  reply: z.object({ create_available: z.boolean() }),
  spec,
})

export const createRendezvous = endpoint({
  name: 'createRendezvous',
  method: 'POST',
  auth: 'optional',
  rateLimit: 'login',
  errors: ['M_FORBIDDEN', 'M_TOO_LARGE', 'M_UNRECOGNIZED'],
  paths: [channel],
  body: z.object({ data }),
  reply: z.object({ id, sequence_token: token, expires_in_ms }),
  spec,
})

export const getRendezvous = endpoint({
  name: 'getRendezvous',
  method: 'GET',
  auth: 'none',
  rateLimit: 'read',
  errors: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_UNRECOGNIZED'],
  paths: [`${channel}/{id}`],
  params: { id },
  reply: z.object({ data, sequence_token: token, expires_in_ms }),
  spec,
})

export const putRendezvous = endpoint({
  name: 'putRendezvous',
  method: 'PUT',
  auth: 'none',
  rateLimit: 'write',
  errors: ['M_NOT_FOUND', 'M_TOO_LARGE', 'M_UNRECOGNIZED', concurrentWrite],
  paths: [`${channel}/{id}`],
  params: { id },
  body: z.object({ sequence_token: token, data }),
  reply: z.object({ sequence_token: token }),
  spec,
})

export const deleteRendezvous = endpoint({
  name: 'deleteRendezvous',
  method: 'DELETE',
  auth: 'none',
  rateLimit: 'write',
  errors: ['M_NOT_FOUND', 'M_UNRECOGNIZED'],
  paths: [`${channel}/{id}`],
  params: { id },
  reply: nothing,
  spec,
})
