/**
 * Requests to other servers: signed, sent to where discovery says, bounded in time, bytes and number, with the
 * destination's backoff kept.
 */
import type { Dispatcher } from 'undici'
import type { Backoff } from '../homeserver/destinations/backoff.ts'
import type { Clock } from '../homeserver/platform/clock.ts'
import {
  type GuardedReply,
  type GuardedRequest,
  type GuardedStream,
  guardedRequest,
  guardedStream,
} from '../homeserver/platform/guarded-request.ts'
import { canonicalJson } from '../spec/canonical-json.ts'
import type { SigningKey } from '../spec/crypto/ed25519.ts'
import { MatrixError } from '../spec/errors.ts'
import type { ServerName } from '../spec/ids.ts'
import {
  integerAt,
  isObject,
  type Json,
  type JsonObject,
  parseJson,
  stringAt,
} from '../spec/json.ts'
import type { Discovery } from './discovery.ts'
import { ListSplitter, type SplitObject } from './list-splitter.ts'
import type { Peering } from './peering.ts'

export interface RemoteRequest {
  readonly method: 'GET' | 'PUT' | 'POST'
  /** With the query string, from `/_matrix` on. */
  readonly path: string
  /** Canonical JSON when it is text. */
  readonly body?: JsonObject | string
  readonly timeoutMs?: number
  readonly replyBytesMax?: number
  /** Ask also when the server did not answer lately: somebody waits for it, or it has to be found out. */
  readonly ignoreBackoff?: boolean
  /**
   * Any answer but success keeps the backoff: nothing better can be expected of the next attempt. One that only
   * speaks of the content changes nothing; the caller finds out what it is about.
   */
  readonly refusalIsFailure?: boolean
  /** Key requests are not signed. */
  readonly unsigned?: boolean
}

/** Asks for what is too large to be held in memory. */
export interface StreamClient {
  /**
   * Sends a signed GET (unless `unsigned`) and answers the answer, when it is a success.
   * @throws MatrixError as FederationClient.call, and what a 504 says
   */
  stream(
    server: ServerName,
    request: Pick<RemoteRequest, 'path' | 'unsigned'> & {
      readonly headersMs: number
      readonly timeoutMs: number
      readonly replyBytesMax: number
    },
  ): Promise<GuardedStream>
}

export interface FederationClient {
  /**
   * Sends a request and answers the parsed body.
   * @throws MatrixError the server's own (4xx), or M_CONNECTION_FAILED (502) when it is silent, overloaded or broken
   */
  call(server: ServerName, request: RemoteRequest): Promise<Json>
  /** As `call`, for a large answer whose lists of these names are cut into texts while it comes, if the client can. */
  callSplit?(
    server: ServerName,
    request: RemoteRequest,
    lists: readonly string[],
  ): Promise<SplitObject>
}

interface Needs {
  readonly serverName: ServerName
  readonly key: SigningKey
  readonly dispatcher: Dispatcher
  readonly discovery: Discovery
  readonly peering: Peering
  readonly backoff: Backoff
  readonly clock: Clock
}

const defaultTimeoutMs = 30_000
const defaultReplyBytesMax = 10 * 1024 * 1024
const replyDepthMax = 200
/** Requests under way, altogether and to one server; more are refused at once. */
const underWayMax = 1_024
const underWayPerServerMax = 64
const errorTextMax = 500
const errorBytesMax = 64 * 1024

export function createFederationClient(needs: Needs): FederationClient & StreamClient {
  const { serverName, backoff, discovery, clock } = needs
  const underWay = new Map<ServerName, number>()
  let total = 0

  async function placed<T>(
    server: ServerName,
    request: RemoteRequest,
    work: () => Promise<T>,
  ): Promise<T> {
    if (server === serverName) throw new Error('a server does not ask itself')
    if (!needs.peering(server)) throw unreachable(server, 'is not a server to talk with')
    if (!request.ignoreBackoff && backoff.retryAt(server) > clock.now()) {
      throw unreachable(server, 'did not answer lately')
    }
    const running = underWay.get(server) ?? 0
    if (total >= underWayMax || running >= underWayPerServerMax) {
      throw unreachable(server, 'has too many requests under way')
    }
    underWay.set(server, running + 1)
    total++
    try {
      return await work()
    } finally {
      total--
      const left = (underWay.get(server) ?? 1) - 1
      if (left === 0) underWay.delete(server)
      else underWay.set(server, left)
    }
  }

  const call = (server: ServerName, request: RemoteRequest): Promise<Json> =>
    placed(server, request, async () => read(server, await exchange(server, request)))

  const callSplit = (server: ServerName, request: RemoteRequest, lists: readonly string[]) =>
    placed(server, request, async () => {
      let splitter = new ListSplitter(lists)
      const reply = await exchange(server, request, (status) => {
        if (status < 200 || status >= 300) return undefined
        splitter = new ListSplitter(lists)
        return (chunk) => splitter.push(chunk)
      })
      if (reply.status < 200 || reply.status >= 300) throw failureOf(server, reply)
      try {
        return splitter.end()
      } catch {
        throw unreachable(server, 'sent an answer that is not JSON')
      }
    })

  const stream: StreamClient['stream'] = (server, request) =>
    placed(server, { ...request, method: 'GET' }, async () => {
      const reply = await begin(server, request)
      if (reply.status >= 200 && reply.status < 300) return reply
      const body = await beginning(reply)
      if (reply.status === 504) throw refusal(server, reply.status, body.toString('utf8'))
      throw failureOf(server, { ...reply, body })
    })

  async function begin(server: ServerName, request: Parameters<StreamClient['stream']>[1]) {
    const { path, unsigned, headersMs, timeoutMs, replyBytesMax } = request
    try {
      const route = await within(discovery.route(server), headersMs)
      const url = new URL(path, route.origin)
      const signed = { method: 'GET', path: `${url.pathname}${url.search}` }
      const headers = {
        ...{ host: route.host, 'user-agent': 'Folkmoot' },
        ...(!unsigned && { authorization: authorization(needs, server, signed, undefined) }),
      }
      const asked = { url, headers, headersMs, timeoutMs, replyBytesMax }
      return await guardedStream(needs.dispatcher, asked)
    } catch (error) {
      discovery.failed(server)
      throw unreachable(server, `does not answer (${codeOf(error)})`)
    }
  }

  /** The answer, whatever its status; says to the backoff what became of it. */
  async function exchange(
    server: ServerName,
    request: RemoteRequest,
    takerOf?: TakerOf,
  ): Promise<GuardedReply> {
    try {
      const reply = await attempt(server, request, takerOf).catch((error: unknown) => {
        // A kept connection that the other side has just closed: the request was not read.
        if (request.method !== 'POST' && isStale(error)) return attempt(server, request, takerOf)
        throw error
      })
      const isRefused = request.refusalIsFailure === true && reply.status >= 300
      if (isRefused && saysNothingOfServer(reply.status)) return reply
      if (isRefused || reply.status === 429 || reply.status >= 500) {
        backoff.failed(server, retryAfterMs(reply))
      } else backoff.succeeded(server)
      return reply
    } catch (error) {
      discovery.failed(server)
      backoff.failed(server)
      throw unreachable(server, `does not answer (${codeOf(error)})`)
    }
  }

  async function attempt(
    server: ServerName,
    request: RemoteRequest,
    takerOf?: TakerOf,
  ): Promise<GuardedReply> {
    const timeoutMs = request.timeoutMs ?? defaultTimeoutMs
    const route = await within(discovery.route(server), timeoutMs)
    const body = typeof request.body === 'object' ? canonicalJson(request.body) : request.body
    const url = new URL(request.path, route.origin)
    // As the URL is written, so it is signed.
    const signed = { method: request.method, path: `${url.pathname}${url.search}` }
    return await guardedRequest(needs.dispatcher, {
      method: request.method,
      url,
      headers: {
        host: route.host,
        'user-agent': 'Folkmoot',
        accept: 'application/json',
        ...(!request.unsigned && { authorization: authorization(needs, server, signed, body) }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body }),
      ...(takerOf && { takerOf }),
      timeoutMs,
      replyBytesMax: request.replyBytesMax ?? defaultReplyBytesMax,
    })
  }

  return { call, callSplit, stream }
}

type TakerOf = NonNullable<GuardedRequest['takerOf']>

/** Is this status about what was sent, and not about who is asked, or who asks. */
export function saysNothingOfServer(status: number): boolean {
  return status === 400 || status === 413 || status === 422
}

/**
 * The Authorization header of a request. `body` is canonical JSON.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#request-authentication}
 */
export function authorization(
  { serverName, key }: { readonly serverName: ServerName; readonly key: SigningKey },
  destination: ServerName,
  { method, path }: { readonly method: string; readonly path: string },
  body: string | undefined,
): string {
  const sig = key.sign(signedRequest({ method, uri: path, origin: serverName, destination }, body))
  return `X-Matrix origin="${serverName}",destination="${destination}",key="${key.keyId}",sig="${sig}"`
}

/** What of a request is signed, as canonical JSON: the names in order, the body as it is. */
export function signedRequest(
  request: { method: string; uri: string; origin: string; destination?: string },
  body: string | undefined,
): string {
  const content = body === undefined ? '' : `"content":${body},`
  const to =
    request.destination === undefined ? '' : `"destination":${JSON.stringify(request.destination)},`
  const { method, origin, uri } = request
  return `{${content}${to}"method":"${method}","origin":${JSON.stringify(origin)},"uri":${JSON.stringify(uri)}}`
}

/** What an error says; a long one is no error of Matrix. */
async function beginning(reply: GuardedStream): Promise<Buffer> {
  const pieces: Buffer[] = []
  let bytes = 0
  try {
    for await (const piece of reply.body) {
      pieces.push(piece)
      bytes += piece.length
      if (bytes > errorBytesMax) break
    }
  } catch {
    // Its status has been heard.
  }
  return Buffer.concat(pieces)
}

function read(server: ServerName, reply: GuardedReply): Json {
  if (reply.status < 200 || reply.status >= 300) throw failureOf(server, reply)
  try {
    return parseJson(reply.body.toString('utf8'), { depthMax: replyDepthMax })
  } catch {
    throw unreachable(server, 'sent an answer that is not JSON')
  }
}

/** What an answer says that is no success. */
function failureOf(server: ServerName, reply: GuardedReply): MatrixError {
  if (reply.status >= 500 || reply.status < 400) {
    return unreachable(server, `answered with status ${reply.status}`)
  }
  return refusal(server, reply.status, reply.body.toString('utf8'))
}

/** The other server's error, as far as it is one. */
function refusal(server: ServerName, status: number, text: string): MatrixError {
  try {
    const body = parseJson(text, { depthMax: replyDepthMax })
    const errcode = isObject(body) ? stringAt(body, 'errcode') : undefined
    if (isObject(body) && errcode !== undefined && /^[A-Z0-9_.]{1,255}$/i.test(errcode)) {
      const { errcode: _, error, ...fields } = body
      const message = typeof error === 'string' ? error.slice(0, errorTextMax) : 'refused'
      return new MatrixError(errcode, message, { status, fields })
    }
  } catch {
    // Answered below like any other body that is no error of Matrix.
  }
  return new MatrixError(status === 404 ? 'M_UNRECOGNIZED' : 'M_UNKNOWN', `${server} refused`, {
    status,
  })
}

function unreachable(server: ServerName, what: string): MatrixError {
  return new MatrixError('M_CONNECTION_FAILED', `${server} ${what}`, { status: 502 })
}

function retryAfterMs(reply: GuardedReply): number {
  const seconds = Number(reply.header('retry-after'))
  if (Number.isFinite(seconds) && seconds > 0) return seconds * 1000
  try {
    const body = parseJson(reply.body.toString('utf8'), { depthMax: replyDepthMax })
    return isObject(body) ? (integerAt(body, 'retry_after_ms') ?? 0) : 0
  } catch {
    return 0
  }
}

/** Rejects when the promise takes longer; what it stands for goes on. */
async function within<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
  const signal = AbortSignal.timeout(timeoutMs)
  return await new Promise<T>((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    promise.then(resolve, reject)
  })
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'error'
  if ('code' in error && typeof error.code === 'string') return error.code
  return error.name === 'Error' ? error.message : error.name
}

function isStale(error: unknown): boolean {
  const code = codeOf(error)
  return code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE'
}
