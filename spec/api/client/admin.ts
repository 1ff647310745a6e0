import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { userIdSchema } from '../../ids.ts'
import { sessionReply } from './session.ts'

/** Synapse documents these two; tools that make accounts from outside rely on them. */
const synapse = 'https://element-hq.github.io/synapse/latest/admin_api'

export const getRegistrationNonce = endpoint({
  name: 'getRegistrationNonce',
  method: 'GET',
  auth: 'none',
  rateLimit: 'login',
  paths: ['/_synapse/admin/v1/register'],
  reply: z.object({ nonce: z.string() }),
  spec: `${synapse}/register_api.html`,
})

export const registerBySecret = endpoint({
  name: 'registerBySecret',
  method: 'POST',
  auth: 'none',
  rateLimit: 'login',
  errors: ['M_USER_IN_USE', 'M_INVALID_USERNAME', 'M_FORBIDDEN'],
  paths: ['/_synapse/admin/v1/register'],
  body: z.object({
    nonce: z.string().max(255),
    username: z.string().min(1).max(255),
    password: z.string().min(1).max(1024),
    mac: z.string().max(255),
    admin: z.boolean().default(false),
    displayname: z.string().max(1024).nullable().exactOptional(),
    user_type: z.string().max(64).nullable().exactOptional(),
    inhibit_login: z.boolean().default(false),
  }),
  reply: z.object({
    ...sessionReply,
    access_token: z.string().exactOptional(),
    device_id: z.string().exactOptional(),
  }),
  spec: `${synapse}/register_api.html`,
})

export const getServerVersion = endpoint({
  name: 'getServerVersion',
  method: 'GET',
  auth: 'none',
  rateLimit: 'read',
  paths: ['/_synapse/admin/v1/server_version'],
  reply: z.object({ server_version: z.string() }),
  spec: `${synapse}/version_api.html`,
})

const connection = z.object({
  ip: z.string().exactOptional(),
  last_seen: z.int().exactOptional(),
})

export const whois = endpoint({
  name: 'whois',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_FORBIDDEN', 'M_NOT_FOUND'],
  paths: ['/_matrix/client/v3/admin/whois/{userId}', '/_synapse/admin/v1/whois/{userId}'],
  params: { userId: userIdSchema },
  reply: z.object({
    user_id: userIdSchema,
    devices: z.record(
      z.string(),
      z.object({ sessions: z.array(z.object({ connections: z.array(connection) })) }),
    ),
  }),
  spec: 'client-server-api/#get_matrixclientv3adminwhoisuserid',
})

const moderation = {
  auth: 'admin',
  errors: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INVALID_PARAM'],
  params: { userId: userIdSchema },
} as const
const lock = z.object({ locked: z.boolean() })
const suspension = z.object({ suspended: z.boolean() })

export const getLock = endpoint({
  ...moderation,
  name: 'getLock',
  method: 'GET',
  rateLimit: 'read',
  paths: ['/_matrix/client/v1/admin/lock/{userId}'],
  reply: lock,
})

export const setLock = endpoint({
  ...moderation,
  name: 'setLock',
  method: 'PUT',
  rateLimit: 'write',
  paths: ['/_matrix/client/v1/admin/lock/{userId}'],
  body: lock,
  reply: lock,
})

export const getSuspension = endpoint({
  ...moderation,
  name: 'getSuspension',
  method: 'GET',
  rateLimit: 'read',
  paths: ['/_matrix/client/v1/admin/suspend/{userId}'],
  reply: suspension,
})

export const setSuspension = endpoint({
  ...moderation,
  name: 'setSuspension',
  method: 'PUT',
  rateLimit: 'write',
  paths: ['/_matrix/client/v1/admin/suspend/{userId}'],
  body: suspension,
  reply: suspension,
})
