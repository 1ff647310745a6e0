import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { deviceIdSchema } from '../../ids.ts'
import { jsonObject, queryLimit } from '../fields.ts'

const spec = 'https://github.com/matrix-org/matrix-spec-proposals/pull/3814'
const path = '/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device'
const deviceId = deviceIdSchema
/** Most messages of an answer. */
const limit = queryLimit(1000).default(100)
const token = z.string().regex(/^d[0-9]{1,15}$/, 'not a token of this endpoint')

export const putDehydratedDevice = endpoint({
  name: 'putDehydratedDevice',
  method: 'PUT',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_INVALID_PARAM'],
  paths: [path],
  body: z.object({
    device_id: deviceId,
    device_data: jsonObject,
    initial_device_display_name: z.string().max(1024).nullish(),
    device_keys: jsonObject,
    one_time_keys: jsonObject.exactOptional(),
    fallback_keys: jsonObject.exactOptional(),
  }),
  reply: z.object({ device_id: deviceId }),
  spec,
})

export const getDehydratedDevice = endpoint({
  name: 'getDehydratedDevice',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND'],
  paths: [path],
  reply: z.object({ device_id: deviceId, device_data: jsonObject }),
  spec,
})

export const deleteDehydratedDevice = endpoint({
  name: 'deleteDehydratedDevice',
  method: 'DELETE',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_NOT_FOUND'],
  paths: [path],
  reply: z.object({ device_id: deviceId }),
  spec,
})

export const getDehydratedDeviceEvents = endpoint({
  name: 'getDehydratedDeviceEvents',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_FORBIDDEN', 'M_INVALID_PARAM'],
  paths: [`${path}/{deviceId}/events`],
  params: { deviceId },
  query: { from: token.optional(), limit },
  reply: jsonObject,
  spec,
})

/** An earlier form of {@link getDehydratedDeviceEvents}: it always has a `next_batch`, and ends with an empty answer. */
export const postDehydratedDeviceEvents = endpoint({
  name: 'postDehydratedDeviceEvents',
  method: 'POST',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_FORBIDDEN', 'M_INVALID_PARAM'],
  paths: [`${path}/{deviceId}/events`],
  params: { deviceId },
  query: { limit },
  body: z.object({ next_batch: token.nullish() }),
  reply: jsonObject,
  spec,
})
