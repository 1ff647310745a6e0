import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { serverNameSchema } from '../../ids.ts'
import { jsonObject, queryInteger } from '../fields.ts'
import { open, serverSpec } from './declare.ts'

/** Most servers that one notary query may name. */
export const notaryServersMax = 100

const keyId = z
  .string()
  .regex(/^[a-z0-9]{1,32}:[A-Za-z0-9_]{1,128}$/, 'expected <algorithm>:<version>')
const base64Key = z.string().max(128)
const timestamp = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)

/** The object that a server publishes about its own keys; other members are kept, they are signed too. */
export const serverKeysSchema = z.looseObject({
  server_name: serverNameSchema,
  verify_keys: z.record(z.string().max(255), z.looseObject({ key: base64Key })),
  old_verify_keys: z
    .record(z.string().max(255), z.looseObject({ key: base64Key, expired_ts: timestamp }))
    .optional(),
  valid_until_ts: timestamp,
  signatures: z.record(z.string().max(255), z.record(z.string().max(255), z.string().max(256))),
})
export type ServerKeys = z.output<typeof serverKeysSchema>

/** The body is served as it was signed, hence it is any object to us. */
export const getServerKeys = endpoint({
  ...open,
  name: 'getServerKeys',
  method: 'GET',
  paths: ['/_matrix/key/v2/server', '/_matrix/key/v2/server/{keyId}'],
  params: { keyId: z.string().max(255).optional() },
  reply: jsonObject,
  spec: serverSpec('GET', '/_matrix/key/v2/server'),
})

export const queryServerKeys = endpoint({
  ...open,
  name: 'queryServerKeys',
  method: 'POST',
  paths: ['/_matrix/key/v2/query'],
  body: z.object({
    server_keys: z.record(
      serverNameSchema,
      z.record(keyId, z.object({ minimum_valid_until_ts: timestamp.optional() })),
    ),
  }),
  reply: z.object({ server_keys: z.array(jsonObject) }),
  spec: serverSpec('POST', '/_matrix/key/v2/query'),
})

export const getQueriedServerKeys = endpoint({
  ...open,
  name: 'getQueriedServerKeys',
  method: 'GET',
  paths: ['/_matrix/key/v2/query/{serverName}', '/_matrix/key/v2/query/{serverName}/{keyId}'],
  params: { serverName: serverNameSchema, keyId: z.string().max(255).optional() },
  query: { minimum_valid_until_ts: queryInteger({ min: 0 }).optional() },
  reply: z.object({ server_keys: z.array(jsonObject) }),
  spec: serverSpec('GET', '/_matrix/key/v2/query/{serverName}'),
})
