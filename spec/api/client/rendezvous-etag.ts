/** The earlier rendezvous, of text and ETags, that today’s clients use. */
import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'

const place = '/_matrix/client/unstable/org.matrix.msc4108/rendezvous'
const spec = 'https://github.com/matrix-org/matrix-spec-proposals/pull/4108'
const id = z.string().max(255)
const text = z.string()

/** The body is text. */
export const createTextRendezvous = endpoint({
  name: 'createTextRendezvous',
  method: 'POST',
  auth: 'optional',
  rateLimit: 'login',
  errors: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_MISSING_PARAM', 'M_TOO_LARGE', 'M_UNRECOGNIZED'],
  paths: [place],
  reply: z.object({ url: z.string() }),
  spec,
})

/** The answer is text. */
export const getTextRendezvous = endpoint({
  name: 'getTextRendezvous',
  method: 'GET',
  auth: 'none',
  rateLimit: 'read',
  errors: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_UNRECOGNIZED'],
  paths: [`${place}/{id}`],
  params: { id },
  reply: text,
  spec,
})

/** The body is text. */
export const putTextRendezvous = endpoint({
  name: 'putTextRendezvous',
  method: 'PUT',
  auth: 'none',
  rateLimit: 'write',
  errors: ['M_INVALID_PARAM', 'M_MISSING_PARAM', 'M_NOT_FOUND', 'M_TOO_LARGE', 'M_UNRECOGNIZED'],
  paths: [`${place}/{id}`],
  params: { id },
  reply: text,
  spec,
})

export const deleteTextRendezvous = endpoint({
  name: 'deleteTextRendezvous',
  method: 'DELETE',
  auth: 'none',
  rateLimit: 'write',
  errors: ['M_NOT_FOUND', 'M_UNRECOGNIZED'],
  paths: [`${place}/{id}`],
  params: { id },
  reply: text,
  spec,
})
