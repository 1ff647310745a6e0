import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { roomAliasSchema, userIdSchema } from '../../ids.ts'
import { jsonObject } from '../fields.ts'

const paths = (rest: string) =>
  [
    `/_matrix/client/v3/thirdparty/${rest}`,
    `/_matrix/client/unstable/thirdparty/${rest}`,
  ] as const satisfies [string, string]
const about = { method: 'GET', auth: 'token', rateLimit: 'read' } as const
const protocol = z.string().min(1).max(255)
const list = z.array(jsonObject)
/** What to look for: fields that the protocol names. */
const fields = z.record(z.string().max(255), z.string().max(1_024))

export const getProtocols = endpoint({
  name: 'getProtocols',
  ...about,
  paths: [...paths('protocols')],
  reply: z.record(z.string(), jsonObject),
})

export const getProtocol = endpoint({
  name: 'getProtocol',
  ...about,
  errors: ['M_NOT_FOUND'],
  paths: [...paths('protocol/{protocol}')],
  params: { protocol },
  reply: jsonObject,
})

export const findLocations = {
  ...endpoint({
    name: 'findLocations',
    ...about,
    paths: [...paths('location/{protocol}')],
    params: { protocol },
    reply: list,
  }),
  query: fields,
}

export const findThirdPartyUsers = {
  ...endpoint({
    name: 'findThirdPartyUsers',
    ...about,
    paths: [...paths('user/{protocol}')],
    params: { protocol },
    reply: list,
  }),
  query: fields,
}

export const locationsOfAlias = endpoint({
  name: 'locationsOfAlias',
  ...about,
  paths: [...paths('location')],
  query: { alias: roomAliasSchema },
  reply: list,
})

export const thirdPartyUsersOf = endpoint({
  name: 'thirdPartyUsersOf',
  ...about,
  paths: [...paths('user')],
  query: { userid: userIdSchema },
  reply: list,
})
