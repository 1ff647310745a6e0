/** Addresses outside of Matrix that belong to users. {@link https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information} */
import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { serverNameSchema } from '../../ids.ts'
import { authData, nothing } from '../fields.ts'

const clientSecret = z.string().regex(/^[0-9a-zA-Z.=_-]{1,255}$/, 'not a client secret')
const sid = z.string().regex(/^[0-9a-zA-Z.=_-]{1,255}$/, 'not a session id')
const mediumSchema = z.enum(['email', 'msisdn'])
const address = z.string().min(1).max(320)
const identityServer = {
  id_server: serverNameSchema.exactOptional(),
  id_access_token: z.string().max(4_096).exactOptional(),
}
const attempt = {
  client_secret: clientSecret,
  send_attempt: z.number().int().min(0).max(1_000_000),
  next_link: z
    .url({ protocol: /^https?$/, normalize: true })
    .max(2_048)
    .exactOptional(),
  ...identityServer,
}
const byMail = z.object({ ...attempt, email: z.string().max(320) })
const byPhone = z.object({
  ...attempt,
  country: z.string().max(2),
  phone_number: z.string().max(50),
})
const tokenErrors = ['M_THREEPID_DENIED', 'M_INVALID_PARAM']
const sent = z.object({ sid: z.string(), submit_url: z.string().exactOptional() })

const mailToken = {
  method: 'POST',
  auth: 'optional',
  rateLimit: 'register',
  errors: tokenErrors,
  body: byMail,
  reply: sent,
} as const
const phoneToken = { ...mailToken, body: byPhone } as const

export const requestRegistrationMail = endpoint({
  ...mailToken,
  name: 'requestRegistrationMail',
  paths: ['/_matrix/client/v3/register/email/requestToken'],
})

export const requestRegistrationCall = endpoint({
  ...phoneToken,
  name: 'requestRegistrationCall',
  paths: ['/_matrix/client/v3/register/msisdn/requestToken'],
})

export const requestPasswordMail = endpoint({
  ...mailToken,
  name: 'requestPasswordMail',
  paths: ['/_matrix/client/v3/account/password/email/requestToken'],
})

export const requestPasswordCall = endpoint({
  ...phoneToken,
  name: 'requestPasswordCall',
  paths: ['/_matrix/client/v3/account/password/msisdn/requestToken'],
})

export const requestAddressMail = endpoint({
  ...mailToken,
  name: 'requestAddressMail',
  paths: ['/_matrix/client/v3/account/3pid/email/requestToken'],
})

export const requestAddressCall = endpoint({
  ...phoneToken,
  name: 'requestAddressCall',
  paths: ['/_matrix/client/v3/account/3pid/msisdn/requestToken'],
})

export const getThirdPartyIds = endpoint({
  name: 'getThirdPartyIds',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  paths: ['/_matrix/client/v3/account/3pid'],
  reply: z.object({
    threepids: z.array(
      z.object({
        medium: z.string(),
        address: z.string(),
        validated_at: z.number(),
        added_at: z.number(),
      }),
    ),
  }),
})

export const addThirdPartyId = endpoint({
  name: 'addThirdPartyId',
  method: 'POST',
  auth: 'token',
  rateLimit: 'login',
  errors: ['M_THREEPID_AUTH_FAILED', 'M_THREEPID_IN_USE'],
  paths: ['/_matrix/client/v3/account/3pid/add'],
  body: z.object({
    auth: authData,
    client_secret: clientSecret.exactOptional(),
    sid: sid.exactOptional(),
  }),
  reply: nothing,
})

/** As clients older than r0.6 of the specification add one. */
export const addThirdPartyIdOfOld = endpoint({
  name: 'addThirdPartyIdOfOld',
  method: 'POST',
  auth: 'token',
  rateLimit: 'login',
  errors: ['M_THREEPID_AUTH_FAILED', 'M_THREEPID_IN_USE'],
  paths: ['/_matrix/client/v3/account/3pid'],
  body: z.object({
    auth: authData,
    three_pid_creds: z
      .object({ client_secret: clientSecret, sid, ...identityServer })
      .exactOptional(),
  }),
  reply: nothing,
})

export const bindThirdPartyId = endpoint({
  name: 'bindThirdPartyId',
  method: 'POST',
  auth: 'token',
  rateLimit: 'login',
  errors: ['M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/account/3pid/bind'],
  body: z.object({
    client_secret: clientSecret,
    sid,
    id_server: serverNameSchema,
    id_access_token: z.string().max(4_096),
  }),
  reply: nothing,
})

const one = z.object({
  medium: mediumSchema,
  address,
  id_server: serverNameSchema.exactOptional(),
})
const unbindResult = z.object({ id_server_unbind_result: z.enum(['success', 'no-support']) })

export const unbindThirdPartyId = endpoint({
  name: 'unbindThirdPartyId',
  method: 'POST',
  auth: 'token',
  rateLimit: 'login',
  paths: ['/_matrix/client/v3/account/3pid/unbind'],
  body: one,
  reply: unbindResult,
})

export const deleteThirdPartyId = endpoint({
  name: 'deleteThirdPartyId',
  method: 'POST',
  auth: 'token',
  rateLimit: 'login',
  paths: ['/_matrix/client/v3/account/3pid/delete'],
  body: one,
  reply: unbindResult,
})
