import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { deviceIdSchema } from '../../ids.ts'
import { authData, nothing } from '../fields.ts'
import { sessionReply } from './session.ts'

export const register = endpoint({
  name: 'register',
  method: 'POST',
  auth: 'optional',
  rateLimit: 'register',
  errors: ['M_USER_IN_USE', 'M_INVALID_USERNAME', 'M_EXCLUSIVE', 'M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/register'],
  query: { kind: z.enum(['user', 'guest']).default('user') },
  body: z.object({
    auth: authData,
    type: z.string().max(255).exactOptional(),
    username: z.string().max(255).nullable().exactOptional(),
    password: z.string().max(1024).nullable().exactOptional(),
    device_id: deviceIdSchema.nullable().exactOptional(),
    initial_device_display_name: z.string().max(1024).nullable().exactOptional(),
    inhibit_login: z.boolean().nullable().exactOptional(),
    refresh_token: z.boolean().nullable().exactOptional(),
  }),
  reply: z.object({
    ...sessionReply,
    access_token: z.string().exactOptional(),
    device_id: z.string().exactOptional(),
  }),
})

export const checkUsername = endpoint({
  name: 'checkUsername',
  method: 'GET',
  auth: 'none',
  rateLimit: 'register',
  errors: ['M_USER_IN_USE', 'M_INVALID_USERNAME', 'M_EXCLUSIVE'],
  paths: ['/_matrix/client/v3/register/available'],
  query: { username: z.string().max(255) },
  reply: z.object({ available: z.boolean() }),
})

export const checkRegistrationToken = endpoint({
  name: 'checkRegistrationToken',
  method: 'GET',
  auth: 'none',
  rateLimit: 'login',
  errors: ['M_FORBIDDEN'],
  paths: ['/_matrix/client/v1/register/m.login.registration_token/validity'],
  query: { token: z.string().max(64) },
  reply: z.object({ valid: z.boolean() }),
})

export const changePassword = endpoint({
  name: 'changePassword',
  method: 'POST',
  // Who has forgotten it has no token.
  auth: 'optional',
  rateLimit: 'login',
  errors: ['M_FORBIDDEN', 'M_WEAK_PASSWORD'],
  paths: ['/_matrix/client/v3/account/password'],
  body: z.object({
    auth: authData,
    new_password: z.string().min(1).max(1024).exactOptional(),
    logout_devices: z.boolean().exactOptional(),
  }),
  reply: nothing,
})

export const deactivateAccount = endpoint({
  name: 'deactivateAccount',
  method: 'POST',
  auth: 'token',
  rateLimit: 'login',
  errors: ['M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/account/deactivate'],
  body: z.object({ auth: authData, erase: z.boolean().exactOptional() }),
  reply: z.object({ id_server_unbind_result: z.enum(['success', 'no-support']) }),
})
