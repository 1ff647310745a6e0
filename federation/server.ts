/**
 * The listener for other servers: limits, authentication, dispatch, and every error in Matrix's shape.
 */
import { isUtf8 } from 'node:buffer'
import type http from 'node:http'
import Koa from 'koa'
import type { Backoff } from '../homeserver/destinations/backoff.ts'
import type { Clock } from '../homeserver/platform/clock.ts'
import type { Logger } from '../homeserver/platform/log.ts'
import type { KeyRing } from '../homeserver/ports.ts'
import { MatrixError } from '../spec/errors.ts'
import type { ServerName } from '../spec/ids.ts'
import { type Json, parseJson } from '../spec/json.ts'
import { readCredentials, requireSignature } from './authenticate.ts'
import { createRouter, type Parts, type Route } from './router.ts'

interface Needs {
  readonly serverName: ServerName
  readonly keys: KeyRing
  readonly backoff: Backoff
  readonly clock: Clock
  readonly log: Logger
  readonly limits: FederationLimits
  readonly routes: readonly Route[]
}

export interface FederationLimits {
  /** Largest body of a transaction; others are held to a sixteenth of it. */
  readonly bodyBytesMax: number
  readonly jsonDepthMax: number
}

/** Requests of one server that are served at a time; more are told to come later. */
const underWayPerOriginMax = 100
const retryAfterMs = 1_000
const queryParametersMax = 200

export interface FederationApi {
  callback(): http.RequestListener
}

export function createFederationApi(needs: Needs): FederationApi {
  const { log } = needs
  const find = createRouter(needs.routes)
  const underWay = new Map<ServerName, number>()
  const app = new Koa()
  app.on('error', (error: unknown) => log.debug({ error }, 'federation connection failed'))

  app.use(async (ctx) => {
    try {
      ctx.body = await answer(ctx.req)
      ctx.status = 200
    } catch (error) {
      const shown = shownError(error, log)
      ctx.status = shown.status
      ctx.body = JSON.stringify(shown)
      // What is left of a body that was refused unread is not read.
      if (!ctx.req.complete) ctx.set('connection', 'close')
    }
    ctx.type = 'application/json'
  })

  async function answer(req: http.IncomingMessage): Promise<string> {
    const uri = req.url ?? '/'
    const { path, query } = splitUri(uri)
    const match = find(req.method ?? 'GET', path)
    if (match.kind !== 'route') {
      const status = match.kind === 'method' ? 405 : 404
      throw new MatrixError('M_UNRECOGNIZED', 'Unrecognized request', { status })
    }
    const { endpoint, serve } = match.route
    const bytesMax = needs.limits.bodyBytesMax / (endpoint.name === 'sendTransaction' ? 1 : 16)
    if (endpoint.auth !== 'server') {
      const { content } = await readBody(req, bytesMax, needs.limits.jsonDepthMax)
      return await serve({ params: match.params, query, body: content }, undefined)
    }
    const credentials = readCredentials(req.headers.authorization, needs.serverName)
    const { text, content } = await readBody(req, bytesMax, needs.limits.jsonDepthMax)
    const origin = await requireSignature(needs, credentials, {
      method: req.method ?? 'GET',
      uri,
      ...(text !== undefined && { text }),
      ...(content !== undefined && { content }),
    })
    needs.backoff.succeeded(origin)
    return await bounded(origin, () =>
      serve({ params: match.params, query, body: content }, origin),
    )
  }

  async function bounded(origin: ServerName, work: () => Promise<string>): Promise<string> {
    const running = underWay.get(origin) ?? 0
    if (running >= underWayPerOriginMax) {
      const fields = { retry_after_ms: retryAfterMs }
      throw new MatrixError('M_LIMIT_EXCEEDED', 'too many requests at a time', { fields })
    }
    underWay.set(origin, running + 1)
    try {
      return await work()
    } finally {
      const left = (underWay.get(origin) ?? 1) - 1
      if (left === 0) underWay.delete(origin)
      else underWay.set(origin, left)
    }
  }

  return { callback: () => app.callback() }
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

async function readBody(
  req: http.IncomingMessage,
  bytesMax: number,
  depthMax: number,
): Promise<{ text?: string; content?: Json }> {
  const tooLarge = () => new MatrixError('M_TOO_LARGE', `body larger than ${bytesMax} bytes`)
  if (Number(req.headers['content-length'] ?? 0) > bytesMax) throw tooLarge()
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of req) {
    bytes += chunk.length
    if (bytes > bytesMax) throw tooLarge()
    chunks.push(chunk)
  }
  if (bytes === 0) return {}
  const body = Buffer.concat(chunks, bytes)
  if (!isUtf8(body)) throw new MatrixError('M_NOT_JSON', 'the body is not UTF-8')
  const text = body.toString('utf8')
  // One event with a number that room versions from 6 on forbid must not spoil the others.
  return { text, content: parseJson(text, { depthMax, integralFloats: 'poison' }) }
}

function shownError(error: unknown, log: Logger): MatrixError {
  if (error instanceof MatrixError) return error
  if (error instanceof Error && 'code' in error && error.code === 'ECONNRESET') {
    return new MatrixError('M_UNKNOWN', 'the connection was closed', { status: 400 })
  }
  log.error({ error }, 'federation request failed')
  return new MatrixError('M_UNKNOWN', 'Internal server error')
}
