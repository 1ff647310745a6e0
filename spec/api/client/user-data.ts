import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { roomIdSchema, userIdSchema } from '../../ids.ts'
import { json, jsonObject, nothing, openObject } from '../fields.ts'

const userId = userIdSchema
const roomId = roomIdSchema
const dataType = z.string().max(255)
const tag = z.string().max(255)
const field = z.string().max(255)

export const getProfile = endpoint({
  name: 'getProfile',
  method: 'GET',
  auth: 'optional',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND', 'M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/profile/{userId}'],
  params: { userId },
  reply: jsonObject,
})

export const getProfileField = endpoint({
  name: 'getProfileField',
  method: 'GET',
  auth: 'optional',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND', 'M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/profile/{userId}/{field}'],
  params: { userId, field },
  reply: jsonObject,
})

export const setProfileField = endpoint({
  name: 'setProfileField',
  method: 'PUT',
  auth: 'guest',
  rateLimit: 'write',
  errors: ['M_FORBIDDEN', 'M_TOO_LARGE', 'M_PROFILE_TOO_LARGE', 'M_KEY_TOO_LARGE'],
  paths: ['/_matrix/client/v3/profile/{userId}/{field}'],
  params: { userId, field },
  body: jsonObject,
  reply: nothing,
})

export const deleteProfileField = endpoint({
  name: 'deleteProfileField',
  method: 'DELETE',
  auth: 'guest',
  rateLimit: 'write',
  errors: ['M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/profile/{userId}/{field}'],
  params: { userId, field },
  reply: nothing,
})

export const getAccountData = endpoint({
  name: 'getAccountData',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND', 'M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/user/{userId}/account_data/{type}'],
  params: { userId, type: dataType },
  reply: jsonObject,
})

export const setAccountData = endpoint({
  name: 'setAccountData',
  method: 'PUT',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/user/{userId}/account_data/{type}'],
  params: { userId, type: dataType },
  body: jsonObject,
  reply: nothing,
})

export const getRoomAccountData = endpoint({
  name: 'getRoomAccountData',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND', 'M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}'],
  params: { userId, roomId, type: dataType },
  reply: jsonObject,
})

export const setRoomAccountData = endpoint({
  name: 'setRoomAccountData',
  method: 'PUT',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}'],
  params: { userId, roomId, type: dataType },
  body: jsonObject,
  reply: nothing,
})

// {@link https://github.com/matrix-org/matrix-spec-proposals/pull/3391}
const unstable = '/_matrix/client/unstable/org.matrix.msc3391/user/{userId}'

export const deleteAccountData = endpoint({
  name: 'deleteAccountData',
  method: 'DELETE',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_FORBIDDEN'],
  paths: [`${unstable}/account_data/{type}`],
  params: { userId, type: dataType },
  reply: nothing,
})

export const deleteRoomAccountData = endpoint({
  name: 'deleteRoomAccountData',
  method: 'DELETE',
  auth: 'token',
  rateLimit: 'write',
  errors: ['M_FORBIDDEN'],
  paths: [`${unstable}/rooms/{roomId}/account_data/{type}`],
  params: { userId, roomId, type: dataType },
  reply: nothing,
})

export const getTags = endpoint({
  name: 'getTags',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  paths: ['/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags'],
  params: { userId, roomId },
  reply: z.object({ tags: jsonObject }),
})

export const setTag = endpoint({
  name: 'setTag',
  method: 'PUT',
  auth: 'token',
  rateLimit: 'write',
  paths: ['/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}'],
  params: { userId, roomId, tag },
  body: openObject({ order: json.exactOptional() }),
  reply: nothing,
})

export const deleteTag = endpoint({
  name: 'deleteTag',
  method: 'DELETE',
  auth: 'token',
  rateLimit: 'write',
  paths: ['/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}'],
  params: { userId, roomId, tag },
  reply: nothing,
})

export const createFilter = endpoint({
  name: 'createFilter',
  method: 'POST',
  auth: 'token',
  rateLimit: 'write',
  paths: ['/_matrix/client/v3/user/{userId}/filter'],
  params: { userId },
  body: jsonObject,
  reply: z.object({ filter_id: z.string() }),
})

export const getFilter = endpoint({
  name: 'getFilter',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND'],
  paths: ['/_matrix/client/v3/user/{userId}/filter/{filterId}'],
  params: { userId, filterId: z.string().max(64) },
  reply: jsonObject,
})
