/**
 * Identity servers, which know to whom an address belongs. They are of the client's choosing, or named by a room's state.
 * {@link https://spec.matrix.org/v1.19/identity-service-api/}
 */
import { createHash } from 'node:crypto'
import type { Dispatcher } from 'undici'
import { z } from 'zod'
import { guardedGet, guardedRequest } from '../homeserver/platform/guarded-request.ts'
import type { Identity, IdentityServer } from '../homeserver/ports.ts'
import { canonicalJson } from '../spec/canonical-json.ts'
import type { SigningKey } from '../spec/crypto/ed25519.ts'
import { MatrixError } from '../spec/errors.ts'
import { isUserId, type ServerName } from '../spec/ids.ts'
import type { JsonObject } from '../spec/json.ts'
import { authorization } from './request.ts'

const timeoutMs = 10_000
const replyBytesMax = 65_536
const redirectsMax = 3

const hashDetails = z.object({
  lookup_pepper: z.string().max(1_024),
  algorithms: z.array(z.string()).max(20),
})
const lookupAnswer = z.object({ mappings: z.record(z.string(), z.string()) })
const storedInvite = z.object({
  token: z.string().regex(/^[0-9a-zA-Z.=_-]{1,255}$/),
  display_name: z.string().max(1_024),
  public_keys: z
    .array(z.object({ public_key: z.string().max(100), key_validity_url: z.string().max(2_048) }))
    .min(1)
    .max(10),
})
const boundAddress = z.object({ medium: z.string().max(100), address: z.string().max(320) })
const keyValidity = z.object({ valid: z.boolean() })

interface Needs {
  readonly dispatcher: Dispatcher
  /** Who asks, where an identity server believes servers and not users. */
  readonly serverName: ServerName
  readonly key: SigningKey
}

export function createIdentity(needs: Needs): Identity {
  const { dispatcher } = needs

  async function ask(
    { name, accessToken }: IdentityServer,
    path: string,
    body?: JsonObject,
  ): Promise<unknown> {
    const reply = await guardedRequest(dispatcher, {
      method: body === undefined ? 'GET' : 'POST',
      url: new URL(`https://${name}/_matrix/identity/v2/${path}`),
      headers: { authorization: `Bearer ${accessToken}`, 'content-type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      timeoutMs,
      replyBytesMax,
    }).catch(() => {
      throw unreachable(name)
    })
    if (reply.status === 200) return JSON.parse(reply.body.toString('utf8'))
    if (reply.status === 401 || reply.status === 403) {
      throw new MatrixError('M_FORBIDDEN', `${name} does not take the token`)
    }
    throw unreachable(name)
  }

  async function read<T>(server: IdentityServer, schema: z.ZodType<T>, answer: Promise<unknown>) {
    try {
      return schema.parse(await answer)
    } catch (error) {
      if (error instanceof MatrixError) throw error
      throw unreachable(server.name)
    }
  }

  return {
    async lookUp(server, { medium, address }) {
      const details = await read(server, hashDetails, ask(server, 'hash_details'))
      const algorithm = details.algorithms.includes('sha256') ? 'sha256' : 'none'
      const pepper = details.lookup_pepper
      const wanted =
        algorithm === 'none'
          ? `${address} ${medium}`
          : createHash('sha256').update(`${address} ${medium} ${pepper}`).digest('base64url')
      const body = { algorithm, pepper, addresses: [wanted] }
      const { mappings } = await read(server, lookupAnswer, ask(server, 'lookup', body))
      const user = Object.hasOwn(mappings, wanted) ? mappings[wanted] : undefined
      return isUserId(user) ? user : undefined
    },
    async storeInvite(server, invite) {
      const stored = await read(server, storedInvite, ask(server, 'store-invite', invite))
      return {
        token: stored.token,
        displayName: stored.display_name,
        keys: stored.public_keys.map((key) => ({
          publicKey: key.public_key,
          validityUrl: key.key_validity_url,
        })),
      }
    },
    async bind(server, user, { sid, clientSecret }) {
      const body = { sid, client_secret: clientSecret, mxid: user }
      return await read(server, boundAddress, ask(server, '3pid/bind', body))
    },
    async unbind(name, { user, medium, address }) {
      const url = new URL(`https://${name}/_matrix/identity/v2/3pid/unbind`)
      const body = canonicalJson({ mxid: user, threepid: { medium, address } })
      const signed = { method: 'POST', path: url.pathname }
      const headers = {
        authorization: authorization(needs, name, signed, body),
        'content-type': 'application/json',
      }
      const asked = { method: 'POST', url, headers, body, timeoutMs, replyBytesMax } as const
      const reply = await guardedRequest(dispatcher, asked).catch(() => undefined)
      return reply?.status === 200
    },
    async isKeyValid(validityUrl, publicKey) {
      try {
        const url = new URL(validityUrl)
        url.searchParams.set('public_key', publicKey)
        if (url.protocol !== 'https:') return false
        const asked = { url, timeoutMs, replyBytesMax, redirectsMax }
        const reply = await guardedGet(dispatcher, asked)
        return keyValidity.parse(JSON.parse(reply.body.toString('utf8'))).valid
      } catch {
        return false
      }
    },
  }
}

function unreachable(name: string): MatrixError {
  return new MatrixError('M_CONNECTION_FAILED', `The identity server ${name} does not answer`, {
    status: 502,
  })
}
