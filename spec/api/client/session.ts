import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { deviceIdSchema, userIdSchema } from '../../ids.ts'
import { authData, jsonObject, nothing, openObject } from '../fields.ts'

/** What comes of a log-in or a registration. */
export const sessionReply = {
  user_id: userIdSchema,
  access_token: z.string(),
  device_id: z.string(),
  refresh_token: z.string().exactOptional(),
  expires_in_ms: z.number().int().exactOptional(),
  home_server: z.string().exactOptional(),
}

export const getLoginFlows = endpoint({
  name: 'getLoginFlows',
  method: 'GET',
  auth: 'none',
  rateLimit: 'login',
  paths: ['/_matrix/client/v3/login'],
  reply: z.object({ flows: z.array(z.looseObject({ type: z.string() })) }),
})

export const login = endpoint({
  name: 'login',
  method: 'POST',
  auth: 'optional',
  rateLimit: 'login',
  errors: ['M_FORBIDDEN', 'M_USER_DEACTIVATED', 'M_UNKNOWN'],
  paths: ['/_matrix/client/v3/login'],
  body: z.object({
    type: z.string().max(255),
    identifier: jsonObject.exactOptional(),
    user: z.string().max(255).exactOptional(),
    password: z.string().max(1024).exactOptional(),
    token: z.string().max(1024).exactOptional(),
    device_id: deviceIdSchema.nullable().exactOptional(),
    initial_device_display_name: z.string().max(1024).nullable().exactOptional(),
    refresh_token: z.boolean().exactOptional(),
  }),
  reply: z.object(sessionReply),
})

export const getLoginToken = endpoint({
  name: 'getLoginToken',
  method: 'POST',
  auth: 'token',
  rateLimit: 'login',
  errors: ['M_FORBIDDEN'],
  paths: ['/_matrix/client/v1/login/get_token'],
  body: openObject({ auth: authData }),
  reply: z.object({ login_token: z.string(), expires_in_ms: z.int() }),
})

export const refresh = endpoint({
  name: 'refresh',
  method: 'POST',
  auth: 'none',
  rateLimit: 'login',
  errors: ['M_UNKNOWN_TOKEN'],
  paths: ['/_matrix/client/v3/refresh'],
  body: z.object({ refresh_token: z.string().max(1024) }),
  reply: z.object({
    access_token: z.string(),
    refresh_token: z.string().exactOptional(),
    expires_in_ms: z.number().int().exactOptional(),
  }),
})

export const logout = endpoint({
  name: 'logout',
  method: 'POST',
  auth: 'guest',
  rateLimit: 'write',
  paths: ['/_matrix/client/v3/logout'],
  reply: nothing,
})

export const logoutAll = endpoint({
  name: 'logoutAll',
  method: 'POST',
  auth: 'guest',
  rateLimit: 'write',
  paths: ['/_matrix/client/v3/logout/all'],
  reply: nothing,
})

export const whoami = endpoint({
  name: 'whoami',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'read',
  paths: ['/_matrix/client/v3/account/whoami'],
  reply: z.object({
    user_id: userIdSchema,
    device_id: z.string().exactOptional(),
    is_guest: z.boolean().exactOptional(),
  }),
})
