import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { json, queryBoolean, queryInteger } from '../fields.ts'
import { serverSpec, signed } from './declare.ts'

/** Opaque; letters, digits, `_` and `-`. */
const mediaId = z.string().regex(/^[A-Za-z0-9_-]{1,255}$/, 'not a media id')
/** How long the caller waits for content that is being uploaded, in milliseconds. */
const timeout = queryInteger({ min: 0 }).default(20_000)
/** Widest and highest thumbnail that may be asked for. */
const sideMax = 10_000
const side = queryInteger({ min: 1, max: sideMax })

/** The answer is multipart/mixed and not JSON. */
export const downloadMedia = endpoint({
  ...signed,
  name: 'downloadFederationMedia',
  method: 'GET',
  paths: ['/_matrix/federation/v1/media/download/{mediaId}'],
  params: { mediaId },
  query: { timeout_ms: timeout },
  errors: ['M_NOT_FOUND', 'M_TOO_LARGE', 'M_NOT_YET_UPLOADED'],
  reply: json,
  spec: serverSpec('GET', '/_matrix/federation/v1/media/download/{mediaId}'),
})

/** The answer is multipart/mixed and not JSON. */
export const downloadThumbnail = endpoint({
  ...signed,
  name: 'downloadFederationThumbnail',
  method: 'GET',
  paths: ['/_matrix/federation/v1/media/thumbnail/{mediaId}'],
  params: { mediaId },
  query: {
    width: side,
    height: side,
    method: z.enum(['crop', 'scale']).default('scale'),
    animated: queryBoolean.default(false),
    timeout_ms: timeout,
  },
  errors: ['M_NOT_FOUND', 'M_TOO_LARGE', 'M_NOT_YET_UPLOADED'],
  reply: json,
  spec: serverSpec('GET', '/_matrix/federation/v1/media/thumbnail/{mediaId}'),
})
