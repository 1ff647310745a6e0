import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { serverNameSchema } from '../../ids.ts'
import { json, nothing, queryBoolean, queryInteger } from '../fields.ts'

/** Opaque; letters, digits, `_` and `-`. */
const mediaId = z.string().regex(/^[A-Za-z0-9_-]{1,255}$/, 'not a media id')
const place = { serverName: serverNameSchema, mediaId }
const fileName = z.string().max(2_048)
/** How long the caller waits for content that is being uploaded, in milliseconds. */
const timeout_ms = queryInteger({ min: 0 }).default(20_000)
/** Of the older endpoints: whether other servers are asked. */
const allow_remote = queryBoolean.default(true)
/** Widest and highest thumbnail that may be asked for. */
const sideMax = 10_000
const side = queryInteger({ min: 1, max: sideMax })
const thumbnail = {
  width: side,
  height: side,
  method: z.enum(['crop', 'scale']).default('scale'),
  animated: queryBoolean.default(false),
  timeout_ms,
}
const downloadErrors = ['M_NOT_FOUND', 'M_TOO_LARGE', 'M_NOT_YET_UPLOADED']
const uploadErrors = ['M_TOO_LARGE']
const config = z.object({ 'm.upload.size': z.number().int() })

/** The body is the file, whatever it is. */
export const uploadMedia = endpoint({
  name: 'uploadMedia',
  method: 'POST',
  auth: 'token',
  rateLimit: 'write',
  errors: uploadErrors,
  paths: ['/_matrix/media/v3/upload', '/_matrix/media/r0/upload', '/_matrix/media/v1/upload'],
  query: { filename: fileName.optional() },
  reply: z.object({ content_uri: z.string() }),
})

export const createMedia = endpoint({
  name: 'createMedia',
  method: 'POST',
  auth: 'token',
  rateLimit: 'write',
  paths: ['/_matrix/media/v1/create'],
  reply: z.object({ content_uri: z.string(), unused_expires_at: z.number().int() }),
})

/** The body is the file, whatever it is. */
export const uploadToMedia = endpoint({
  name: 'uploadToMedia',
  method: 'PUT',
  auth: 'token',
  rateLimit: 'write',
  errors: [...uploadErrors, 'M_FORBIDDEN', 'M_CANNOT_OVERWRITE_MEDIA', 'M_NOT_FOUND'],
  paths: ['/_matrix/media/v3/upload/{serverName}/{mediaId}'],
  params: place,
  query: { filename: fileName.optional() },
  reply: nothing,
})

export const getMediaConfig = endpoint({
  name: 'getMediaConfig',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'read',
  paths: [
    '/_matrix/client/v1/media/config',
    '/_matrix/media/v3/config',
    '/_matrix/media/r0/config',
    '/_matrix/media/v1/config',
  ],
  reply: config,
})

/** The answer is the file. */
export const getMedia = endpoint({
  name: 'getMedia',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'read',
  errors: downloadErrors,
  paths: ['/_matrix/client/v1/media/download/{serverName}/{mediaId}'],
  params: place,
  query: { timeout_ms },
  reply: json,
})

/** The answer is the file, under another name. */
export const getMediaNamed = endpoint({
  name: 'getMediaNamed',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'read',
  errors: downloadErrors,
  paths: ['/_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}'],
  params: { ...place, fileName },
  query: { timeout_ms },
  reply: json,
})

/** The answer is a picture. */
export const getMediaThumbnail = endpoint({
  name: 'getMediaThumbnail',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'read',
  errors: downloadErrors,
  paths: ['/_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}'],
  params: place,
  query: thumbnail,
  reply: json,
})

/** As clients older than v1.11 of the specification ask. */
export const getMediaOpenly = endpoint({
  name: 'getMediaOpenly',
  method: 'GET',
  auth: 'none',
  rateLimit: 'read',
  errors: downloadErrors,
  paths: [
    '/_matrix/media/v3/download/{serverName}/{mediaId}',
    '/_matrix/media/r0/download/{serverName}/{mediaId}',
    '/_matrix/media/v1/download/{serverName}/{mediaId}',
  ],
  params: place,
  query: { timeout_ms, allow_remote },
  reply: json,
})

/** As clients older than v1.11 of the specification ask. */
export const getMediaNamedOpenly = endpoint({
  name: 'getMediaNamedOpenly',
  method: 'GET',
  auth: 'none',
  rateLimit: 'read',
  errors: downloadErrors,
  paths: [
    '/_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}',
    '/_matrix/media/r0/download/{serverName}/{mediaId}/{fileName}',
    '/_matrix/media/v1/download/{serverName}/{mediaId}/{fileName}',
  ],
  params: { ...place, fileName },
  query: { timeout_ms, allow_remote },
  reply: json,
})

/** As clients older than v1.11 of the specification ask. */
export const getMediaThumbnailOpenly = endpoint({
  name: 'getMediaThumbnailOpenly',
  method: 'GET',
  auth: 'none',
  rateLimit: 'read',
  errors: downloadErrors,
  paths: [
    '/_matrix/media/v3/thumbnail/{serverName}/{mediaId}',
    '/_matrix/media/r0/thumbnail/{serverName}/{mediaId}',
    '/_matrix/media/v1/thumbnail/{serverName}/{mediaId}',
  ],
  params: place,
  query: { ...thumbnail, allow_remote },
  reply: json,
})

/** The answer has what the page says of itself, and `matrix:image:size`. */
export const previewUrl = endpoint({
  name: 'previewUrl',
  method: 'GET',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_UNRECOGNIZED'],
  paths: [
    '/_matrix/client/v1/media/preview_url',
    '/_matrix/media/v3/preview_url',
    '/_matrix/media/r0/preview_url',
    '/_matrix/media/v1/preview_url',
  ],
  query: { url: z.string(), ts: queryInteger({ min: 0 }).optional() },
  reply: json,
})
