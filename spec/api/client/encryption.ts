import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { deviceIdSchema, userIdSchema } from '../../ids.ts'
import { authData, jsonObject, nothing, openObject } from '../fields.ts'

const timeoutMs = z.number().int().min(0).exactOptional()
const device = z.looseObject({ device_id: z.string() })

export const getDevices = endpoint({
  name: 'getDevices',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'read',
  paths: ['/_matrix/client/v3/devices'],
  reply: z.object({ devices: z.array(device) }),
})

export const getDevice = endpoint({
  name: 'getDevice',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND'],
  paths: ['/_matrix/client/v3/devices/{deviceId}'],
  params: { deviceId: deviceIdSchema },
  reply: device,
})

export const updateDevice = endpoint({
  name: 'updateDevice',
  method: 'PUT',
  auth: 'guest',
  rateLimit: 'write',
  errors: ['M_NOT_FOUND'],
  paths: ['/_matrix/client/v3/devices/{deviceId}'],
  params: { deviceId: deviceIdSchema },
  body: z.object({ display_name: z.string().max(1024).nullable().exactOptional() }),
  reply: nothing,
})

export const deleteDevice = endpoint({
  name: 'deleteDevice',
  method: 'DELETE',
  auth: 'token',
  rateLimit: 'write',
  paths: ['/_matrix/client/v3/devices/{deviceId}'],
  params: { deviceId: deviceIdSchema },
  body: z.object({ auth: authData }),
  reply: nothing,
})

export const deleteDevices = endpoint({
  name: 'deleteDevices',
  method: 'POST',
  auth: 'token',
  rateLimit: 'write',
  paths: ['/_matrix/client/v3/delete_devices'],
  body: z.object({ auth: authData, devices: z.array(deviceIdSchema).max(10_000).exactOptional() }),
  reply: nothing,
})

export const uploadKeys = endpoint({
  name: 'uploadKeys',
  method: 'POST',
  auth: 'guest',
  rateLimit: 'write',
  errors: ['M_INVALID_PARAM'],
  paths: ['/_matrix/client/v3/keys/upload', '/_matrix/client/v3/keys/upload/{deviceId}'],
  params: { deviceId: deviceIdSchema.exactOptional() },
  body: openObject({
    device_keys: jsonObject.exactOptional(),
    one_time_keys: jsonObject.exactOptional(),
    fallback_keys: jsonObject.exactOptional(),
  }),
  reply: z.object({ one_time_key_counts: z.record(z.string(), z.number().int()) }),
})

export const queryKeys = endpoint({
  name: 'queryKeys',
  method: 'POST',
  auth: 'guest',
  rateLimit: 'read',
  paths: ['/_matrix/client/v3/keys/query'],
  body: z.object({
    timeout: timeoutMs,
    device_keys: z.record(userIdSchema, z.array(z.string().max(512)).max(1000)),
  }),
  reply: jsonObject,
})

export const claimKeys = endpoint({
  name: 'claimKeys',
  method: 'POST',
  auth: 'guest',
  rateLimit: 'write',
  paths: ['/_matrix/client/v3/keys/claim'],
  body: z.object({
    timeout: timeoutMs,
    one_time_keys: z.record(userIdSchema, z.record(z.string().max(512), z.string().max(255))),
  }),
  reply: jsonObject,
})

export const getKeyChanges = endpoint({
  name: 'getKeyChanges',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'read',
  paths: ['/_matrix/client/v3/keys/changes'],
  query: { from: z.string().max(512), to: z.string().max(512) },
  reply: z.object({ changed: z.array(userIdSchema), left: z.array(userIdSchema) }),
})

export const uploadSigningKeys = endpoint({
  name: 'uploadSigningKeys',
  method: 'POST',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_INVALID_PARAM', 'M_INVALID_SIGNATURE'],
  paths: [
    '/_matrix/client/v3/keys/device_signing/upload',
    '/_matrix/client/unstable/keys/device_signing/upload',
  ],
  body: openObject({
    auth: authData,
    master_key: jsonObject.exactOptional(),
    self_signing_key: jsonObject.exactOptional(),
    user_signing_key: jsonObject.exactOptional(),
  }),
  reply: nothing,
})

export const uploadSignatures = endpoint({
  name: 'uploadSignatures',
  method: 'POST',
  auth: 'token',
  rateLimit: 'write',
  paths: [
    '/_matrix/client/v3/keys/signatures/upload',
    '/_matrix/client/unstable/keys/signatures/upload',
  ],
  body: z.record(userIdSchema, z.record(z.string().max(512), jsonObject)),
  reply: jsonObject,
})

export const sendToDevice = endpoint({
  name: 'sendToDevice',
  method: 'PUT',
  auth: 'guest',
  rateLimit: 'send',
  paths: ['/_matrix/client/v3/sendToDevice/{eventType}/{txnId}'],
  params: { eventType: z.string().max(255), txnId: z.string().max(255) },
  body: z.object({ messages: z.record(userIdSchema, z.record(z.string().max(512), jsonObject)) }),
  reply: nothing,
})
