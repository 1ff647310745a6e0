/**
 * The listener for other servers: limits, authentication, dispatch, and every error in Matrix's shape.
 */
import type http from 'node:http'
import { Readable } from 'node:stream'
import Koa from 'koa'
import type { Backoff } from '../homeserver/destinations/backoff.ts'
import type { Clock } from '../homeserver/platform/clock.ts'
import type { Logger } from '../homeserver/platform/log.ts'
import { forbidden, MatrixError } from '../spec/errors.ts'
import type { ServerName } from '../spec/ids.ts'
import { type Credentials, readCredentials, requireKey, requireSignature } from './authenticate.ts'
import { createBodies, type RequestBody } from './bodies.ts'
import type { Budget } from './budget.ts'
import type { FetchingKeyRing } from './key-ring.ts'
import type { Peering } from './peering.ts'
import { createPlaces } from './places.ts'
import { createRouter, type Parts, type Route, type Streamed } from './router.ts'
import { createWrongSignatures } from './wrong-signatures.ts'

interface Needs {
  readonly serverName: ServerName
  readonly keys: Pick<FetchingKeyRing, 'senderKey'>
  readonly peering: Peering
  readonly isTrustedProxy: (address: string) => boolean
  readonly backoff: Pick<Backoff, 'succeeded'>
  /** What is left to a server for events that are no use; see transaction.ts. */
  readonly badEvents: Pick<Budget, 'require'>
  readonly clock: Clock
  readonly log: Logger
  readonly limits: FederationLimits
  readonly routes: readonly Route[]
}

export interface FederationLimits {
  /** Largest body of a transaction; others are held to a sixteenth of it. */
  readonly bodyBytesMax: number
  readonly jsonDepthMax: number
  /** Requests of one server that are served at a time. */
  readonly perServerMax: number
  /** Requests of all servers that are served at a time. */
  readonly totalMax: number
  /** How long a request waits for its place. */
  readonly waitMs: number
}

const queryParametersMax = 200
/** What anybody may ask at any time; for all else that is not signed, strangers share the places of one server. */
const free: ReadonlySet<string> = new Set(['getServerKeys', 'getFederationVersion'])
const anybody = 'anybody'

export interface FederationApi {
  callback(): http.RequestListener
}

export function createFederationApi(needs: Needs): FederationApi {
  const { log, limits } = needs
  const find = createRouter(needs.routes)
  const places = createPlaces({ ...limits, perKeyMax: limits.perServerMax }, needs.clock)
  const wrongSignatures = createWrongSignatures(needs)
  const bodies = createBodies(limits.jsonDepthMax)
  async function answer(req: http.IncomingMessage): Promise<string | Streamed> {
    const uri = req.url ?? '/'
    const { path, query } = splitUri(uri)
    const match = find(req.method ?? 'GET', path)
    if (match.kind !== 'route') {
      const status = match.kind === 'method' ? 405 : 404
      throw new MatrixError('M_UNRECOGNIZED', 'Unrecognized request', { status })
    }
    const { endpoint, serve } = match.route
    const isTransaction = endpoint.name === 'sendTransaction'
    const bytesMax = limits.bodyBytesMax / (isTransaction ? 1 : 16)
    const parts = { params: match.params, query }
    if (endpoint.auth !== 'server') {
      return await bodies.read(req, bytesMax, ({ content }) => {
        const work = () => serve({ ...parts, body: content }, undefined)
        return free.has(endpoint.name) ? work() : places.run(anybody, work)
      })
    }
    const credentials = readCredentials(req.headers.authorization, needs.serverName)
    const { origin } = credentials
    if (!needs.peering(origin)) throw forbidden('this server does not talk with yours')
    if (isTransaction) needs.badEvents.require(origin)
    wrongSignatures.require(req, origin)
    // Nothing is read of who has no key.
    const publicKey = await requireKey(needs.keys, credentials)
    return await bodies.read(req, bytesMax, async (body) => {
      requireSigned(req, credentials, publicKey, body)
      needs.backoff.succeeded(origin)
      return await places.run(origin, () => serve({ ...parts, body: body.content }, origin))
    })
  }

  function requireSigned(
    req: http.IncomingMessage,
    credentials: Credentials,
    publicKey: string,
    body: RequestBody,
  ): void {
    try {
      const { method = 'GET', url: uri = '/' } = req
      requireSignature(publicKey, credentials, { method, uri, ...body })
    } catch (error) {
      wrongSignatures.count(req, credentials.origin)
      throw error
    }
  }

  return { callback: () => listener(answer, log) }
}

/** Every answer and every error as HTTP. */
function listener(
  answer: (req: http.IncomingMessage) => Promise<string | Streamed>,
  log: Logger,
): http.RequestListener {
  const app = new Koa()
  app.on('error', (error: unknown) => log.debug({ error }, 'federation connection failed'))

  app.use(async (ctx) => {
    try {
      const answered = await answer(ctx.req)
      const isText = typeof answered === 'string'
      ctx.status = 200
      ctx.set('content-type', isText ? 'application/json' : answered.type)
      ctx.body = isText ? answered : Readable.from(answered.body)
    } catch (error) {
      const shown = shownError(error, log)
      ctx.status = shown.status
      ctx.body = JSON.stringify(shown)
      ctx.type = 'application/json'
      // What is left of a body that was refused unread is not read.
      if (!ctx.req.complete) ctx.set('connection', 'close')
    }
  })
  return app.callback()
}

function splitUri(uri: string): { path: string; query: Parts['query'] } {
  const at = uri.indexOf('?')
  if (at === -1) return { path: uri, query: {} }
  const query: Record<string, string | string[]> = {}
  let count = 0
  for (const [name, value] of new URLSearchParams(uri.slice(at + 1))) {
    if (++count > queryParametersMax) {
      throw new MatrixError('M_TOO_LARGE', `more than ${queryParametersMax} query parameters`)
    }
    const before = Object.hasOwn(query, name) ? query[name] : undefined
    if (before === undefined) Object.defineProperty(query, name, { ...writable, value })
    else query[name] = typeof before === 'string' ? [before, value] : [...before, value]
  }
  return { path: uri.slice(0, at), query }
}

/** A parameter named `__proto__` is a parameter like others. */
const writable = { enumerable: true, writable: true, configurable: true }

function shownError(error: unknown, log: Logger): MatrixError {
  if (error instanceof MatrixError) return error
  if (error instanceof Error && 'code' in error && error.code === 'ECONNRESET') {
    return new MatrixError('M_UNKNOWN', 'the connection was closed', { status: 400 })
  }
  log.error({ error }, 'federation request failed')
  return new MatrixError('M_UNKNOWN', 'Internal server error')
}
