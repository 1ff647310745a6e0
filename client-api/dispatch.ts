import type { IncomingMessage, ServerResponse } from 'node:http'
import { parse as parseQuery } from 'node:querystring'
import type { Clock } from '../homeserver/platform/clock.ts'
import type { Logger } from '../homeserver/platform/log.ts'
import type { Requester } from '../homeserver/rooms/rooms.ts'
import type { Auth, RateLimit } from '../spec/endpoint.ts'
import { invalidParam, MatrixError } from '../spec/errors.ts'
import type { Json } from '../spec/json.ts'
import { type BodyLimits, readJson } from './body.ts'
import { errorAnswer, methodNotAllowed } from './errors.ts'
import { limits } from './limits.ts'
import { originOf } from './origin.ts'
import { createRouter, type Route, type Router } from './router.ts'
import { send, sendPreflight } from './send.ts'
import { requireStanding } from './standing.ts'

export interface DispatchNeeds {
  readonly routes: readonly Route[]
  readonly authenticate: (
    auth: Auth,
    req: IncomingMessage,
    query: NodeJS.Dict<string | string[]>,
  ) => Promise<Requester | undefined>
  readonly takeBudget: (limit: RateLimit, key: string) => void
  readonly noteSeen?: (who: Requester, from: { ip: string; agent: string }) => void
  readonly bodyLimits: BodyLimits
  readonly log: Logger
  readonly clock: Pick<Clock, 'now'>
  /** Makes the start of the request ids of this process. */
  readonly requestIdPrefix: string
  /** Whether what a peer says about its own client is believed. */
  readonly isTrustedProxy: (address: string) => boolean
  /** Whether requests of this user are counted against its budgets. */
  readonly isLimited?: (who: Requester) => boolean
  /** Aborted when this process begins to stop. */
  readonly stopping?: AbortSignal
}

/**
 * Serves the API: finds the route, asks who calls, reads, checks, calls, answers. Made for little work per request:
 * one walk through the tree, one cached token, one pass over the body, one write.
 */
export function createDispatch(needs: DispatchNeeds) {
  const router: Router = createRouter(needs.routes)
  let requests = 0

  /** False when nothing is served at this path. Never rejects. */
  return async function dispatch(req: IncomingMessage, res: ServerResponse): Promise<boolean> {
    if (req.method === 'OPTIONS') {
      sendPreflight(res)
      return true
    }
    const startedAt = needs.clock.now()
    const id = `${needs.requestIdPrefix}${++requests}`
    let name = ''
    try {
      const { path, search } = splitUrl(req.url ?? '/')
      const match = router.find(req.method ?? 'GET', path)
      if (match.kind === 'none') return false
      if (match.kind === 'method') throw methodNotAllowed(match.allowed)
      name = match.route.endpoint.name
      await send(res, await serve(match.route, match.params, search, req, res))
    } catch (error) {
      closeUnread(req, res)
      await send(res, errorAnswer(error, needs.log, id))
    }
    const { method } = req
    const ms = needs.clock.now() - startedAt
    needs.log.debug({ request: id, method, endpoint: name, status: res.statusCode, ms }, 'request')
    return true
  }

  async function serve(
    { endpoint, serve }: Route,
    params: Record<string, string>,
    search: string,
    req: IncomingMessage,
    res: ServerResponse,
  ): Promise<unknown> {
    const query = search === '' ? noQuery : queryOf(search)
    const from = originOf(req, res, needs.isTrustedProxy, needs.stopping)
    const who = await needs.authenticate(endpoint.auth, req, query)
    if (who?.restriction !== undefined) requireStanding(endpoint.name, who)
    if (who === undefined || needs.isLimited?.(who) !== false) {
      needs.takeBudget(endpoint.rateLimit, who?.user ?? from.ip)
    }
    if (who !== undefined) needs.noteSeen?.(who, { ip: from.ip, agent: from.userAgent })
    const body = endpoint.readsBody ? await bodyOf(endpoint, req, needs.bodyLimits) : undefined
    return await serve({ params, query, body, from }, who)
  }
}

const noQuery = {}

function splitUrl(url: string): { path: string; search: string } {
  if (url.length > limits.urlCharsMax) throw invalidParam('path', 'too long')
  const mark = url.indexOf('?')
  return mark === -1
    ? { path: url, search: '' }
    : { path: url.slice(0, mark), search: url.slice(mark + 1) }
}

function queryOf(search: string): NodeJS.Dict<string | string[]> {
  if (/%(?![0-9A-Fa-f]{2})/.test(search)) throw invalidParam('query', 'malformed percent-encoding')
  if (search.includes('%00')) throw invalidParam('query', 'contains NUL')
  return parseQuery(search, '&', '=', { maxKeys: limits.queryPairsMax })
}

/** Where a body is expected by PUT there has to be one, unless the endpoint does without; elsewhere nothing means `{}`. */
async function bodyOf(
  endpoint: Route['endpoint'],
  req: IncomingMessage,
  bodyLimits: BodyLimits,
): Promise<Json | undefined> {
  const body = await readJson(req, bodyLimits)
  if (body !== undefined) return body
  if (req.method !== 'PUT') return {}
  if (endpoint.body.safeParse(undefined).success) return undefined
  throw new MatrixError('M_NOT_JSON', 'The body is empty')
}

/** The connection cannot be used again when its request was not read to the end. */
function closeUnread(req: IncomingMessage, res: ServerResponse): void {
  if (!req.complete && !res.headersSent) res.setHeader('Connection', 'close')
}

export type Dispatch = ReturnType<typeof createDispatch>
