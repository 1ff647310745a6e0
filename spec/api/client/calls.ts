import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { jsonObject } from '../fields.ts'

export const getTurnServer = endpoint({
  name: 'getTurnServer',
  method: 'GET',
  auth: 'guest',
  rateLimit: 'read',
  paths: ['/_matrix/client/v3/voip/turnServer'],
  reply: jsonObject,
})

/** Where calls of several people are carried (MSC4143). */
export const getRtcTransports = endpoint({
  name: 'getRtcTransports',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  paths: ['/_matrix/client/unstable/org.matrix.msc4143/rtc/transports'],
  reply: z.object({ rtc_transports: z.array(jsonObject) }),
  spec: 'proposals',
})
