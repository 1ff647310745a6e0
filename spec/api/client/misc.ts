import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { jsonObject } from '../fields.ts'

export const getVersions = endpoint({
  name: 'getVersions',
  method: 'GET',
  auth: 'none',
  rateLimit: 'none',
  paths: ['/_matrix/client/versions'],
  reply: z.object({
    versions: z.array(z.string()),
    unstable_features: z.record(z.string(), z.boolean()).exactOptional(),
  }),
})

export const getCapabilities = endpoint({
  name: 'getCapabilities',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'read',
  paths: ['/_matrix/client/v3/capabilities'],
  reply: z.object({ capabilities: jsonObject }),
})

export const getWellKnownClient = endpoint({
  name: 'getWellKnownClient',
  method: 'GET',
  auth: 'none',
  rateLimit: 'none',
  errors: ['M_NOT_FOUND'],
  paths: ['/.well-known/matrix/client'],
  reply: z.looseObject({ 'm.homeserver': z.object({ base_url: z.string() }) }),
})

export const getWellKnownServer = endpoint({
  name: 'getWellKnownServer',
  method: 'GET',
  auth: 'none',
  rateLimit: 'none',
  errors: ['M_NOT_FOUND'],
  paths: ['/.well-known/matrix/server'],
  reply: z.object({ 'm.server': z.string() }),
  spec: 'server-server-api/#getwell-knownmatrixserver',
})

export const getWellKnownSupport = endpoint({
  name: 'getWellKnownSupport',
  method: 'GET',
  auth: 'none',
  rateLimit: 'none',
  errors: ['M_NOT_FOUND'],
  paths: ['/.well-known/matrix/support'],
  reply: z.object({
    contacts: z.array(jsonObject).exactOptional(),
    support_page: z.string().exactOptional(),
  }),
})

export const getWellKnownPolicyServer = endpoint({
  name: 'getWellKnownPolicyServer',
  method: 'GET',
  auth: 'none',
  rateLimit: 'none',
  errors: ['M_NOT_FOUND'],
  paths: ['/.well-known/matrix/policy_server'],
  reply: z.object({ public_keys: z.object({ ed25519: z.string() }) }),
})
