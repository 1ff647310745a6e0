import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { Agent, request } from 'undici'
import { z } from 'zod'
import { MatrixError } from '../../spec/errors.ts'
import { isObject, type JsonObject } from '../../spec/json.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Peers } from '../ports.ts'

/**
 * Calls between the processes of one server: JSON over HTTP on a loopback or private address, each call signed with the
 * instance's secret. Errors that a caller may see (MatrixError) travel; all others arrive as PeerError.
 */

export const peerLimits = {
  /** Largest body of a call or an answer. */
  bodyBytes: 32 * 1024 * 1024,
  /** Longest wait for an answer, unless the call says another. */
  callMs: 15_000,
  connectMs: 1_000,
  /** Calls to one process at a time; more wait. Some of them wait long for other servers. */
  connectionsPerPeer: 512,
  /** As many quick calls to one process at a time: these never wait behind the others. */
  quickConnectionsPerPeer: 4,
  /** Calls that may be in work at a time. */
  callsMax: 5_000,
  /** How long a process that stops waits for the calls that it has taken, in ms. */
  retireMs: 3_000,
  /** How far the clocks of two processes may be apart. */
  skewMs: 60_000,
} as const

/** The other process did not answer (`unanswered`: it may have done its work), or its handler broke (`failed`). */
export class PeerError extends Error {
  override readonly name = 'PeerError'
  readonly kind: 'unanswered' | 'failed'

  constructor(kind: PeerError['kind'], message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.kind = kind
  }
}

/** Thrown by a handler that must not do the work: the call breaks off unanswered, and its caller asks another process. */
export class NotOurs extends Error {
  override readonly name = 'NotOurs'
}

/** Answers what JSON can say; of a MatrixError that it throws the caller learns everything. */
export type PeerMethod = (body: JsonObject) => Promise<object>

export interface CallOptions {
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  /** The answer takes milliseconds and others wait for it: the call has connections of its own. */
  readonly isQuick?: boolean
}

/** As its owner sees it; slices get the narrower port `Peers`. */
export interface RunningPeers extends Peers, AsyncDisposable {
  /** `host:port` of the listener. */
  readonly address: string
  /** `body` is what JSON can say. */
  call(address: string, method: string, body: object, options?: CallOptions): Promise<JsonObject>
  /** From now on calls break off unanswered, so that their callers ask another process; resolves when none is in work. */
  retire(): Promise<void>
  /** Answers calls of `method`; one handler per method. */
  handle(method: string, work: PeerMethod): void
}

interface Needs {
  readonly clock: Clock
  readonly log: Logger
  /** The instance's secret: who has it is a process of this server. */
  readonly secret: string
  /** Loopback or private address to listen on; port 0 takes a free one. */
  readonly host: string
  readonly port: number
}

/** Starts the listener. Rejects when it cannot listen. */
export async function createPeers({
  clock,
  log,
  secret,
  host,
  port,
}: Needs): Promise<RunningPeers> {
  const methods = new Map<string, PeerMethod>()
  const agentWith = (connections: number) =>
    new Agent({
      connections,
      connect: { timeout: peerLimits.connectMs },
      maxResponseSize: peerLimits.bodyBytes,
    })
  const agent = agentWith(peerLimits.connectionsPerPeer)
  const quickAgent = agentWith(peerLimits.quickConnectionsPerPeer)
  let inWork = 0
  let retired = false
  let lastOut = () => {}

  function sign(method: string, at: string, body: string | Buffer): string {
    return createHmac('sha256', secret).update(`${method}\n${at}\n`).update(body).digest('hex')
  }

  async function call(
    address: string,
    method: string,
    body: object,
    { timeoutMs = peerLimits.callMs, signal, isQuick = false }: CallOptions = {},
  ): Promise<JsonObject> {
    const text = JSON.stringify(body)
    const at = String(clock.now())
    const deadline = AbortSignal.timeout(timeoutMs)
    let answer: Answer
    try {
      const response = await request(`http://${address}/${method}`, {
        dispatcher: isQuick ? quickAgent : agent,
        method: 'POST',
        headers: { 'x-peer-time': at, 'x-peer-mac': sign(method, at, text) },
        body: text,
        signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
      })
      answer = Answer.parse(await response.body.json())
    } catch (error) {
      throw new PeerError('unanswered', `${method} was not answered`, error)
    }
    if (answer.matrix !== undefined) {
      const { errcode, message, status, fields } = answer.matrix
      throw new MatrixError(errcode, message, { status, fields: isObject(fields) ? fields : {} })
    }
    if (answer.failed !== undefined) throw new PeerError('failed', answer.failed)
    return isObject(answer.result) ? answer.result : {}
  }

  async function answer(message: IncomingMessage): Promise<Answer> {
    const method = (message.url ?? '').slice(1)
    const at = header(message, 'x-peer-time')
    if (Math.abs(clock.now() - Number(at)) > peerLimits.skewMs) return { failed: 'not authentic' }
    const body = await readBody(message)
    if (body === undefined) return { failed: 'too large' }
    if (!sameText(header(message, 'x-peer-mac'), sign(method, at, body))) {
      return { failed: 'not authentic' }
    }
    const work = methods.get(method)
    if (work === undefined) return { failed: `no method ${method}` }
    const json: unknown = JSON.parse(body.toString('utf8'))
    if (!isObject(json)) return { failed: 'body is no object' }
    return { result: await work(json) }
  }

  async function serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    let out: Answer
    if (retired) {
      message.destroy()
      return
    }
    inWork += 1
    try {
      out = inWork > peerLimits.callsMax ? { failed: 'overloaded' } : await answer(message)
    } catch (error) {
      if (error instanceof NotOurs) {
        message.destroy()
        return
      }
      out = failure(error)
      if (out.matrix === undefined) log.warn({ error, url: message.url }, 'peer call failed')
    } finally {
      inWork -= 1
      if (inWork === 0) lastOut()
    }
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(out))
  }

  const server = createServer(
    { requestTimeout: 60_000, headersTimeout: 10_000 },
    (message, response) => {
      // Never rejects: what a handler throws is the answer.
      void serve(message, response)
    },
  )
  server.keepAliveTimeout = 30_000
  const address = await listen(server, host, port)
  return {
    address,
    call,
    handle(method, work) {
      if (methods.has(method)) throw new Error(`peer method ${method} has a handler`)
      methods.set(method, work)
    },
    async retire() {
      retired = true
      const timer = new AbortController()
      const idle = new Promise<void>((resolve) => {
        lastOut = resolve
      })
      const late = clock.sleep(peerLimits.retireMs, timer.signal).catch(() => {})
      if (inWork > 0) await Promise.race([idle, late])
      timer.abort()
    },
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      await Promise.all([agent.destroy(), quickAgent.destroy()])
    },
  }
}

/** What goes over the wire: exactly one of the three. */
const Answer = z.object({
  result: z.unknown().optional(),
  failed: z.string().optional(),
  matrix: z
    .object({ errcode: z.string(), message: z.string(), status: z.number(), fields: z.unknown() })
    .optional(),
})
type Answer = z.infer<typeof Answer>

function failure(error: unknown): Answer {
  if (error instanceof MatrixError) {
    const { errcode, message, status, fields } = error
    return { matrix: { errcode, message, status, fields } }
  }
  return { failed: error instanceof Error ? error.message : 'failed' }
}

function header(message: IncomingMessage, name: string): string {
  const value = message.headers[name]
  return typeof value === 'string' ? value : ''
}

/** Undefined when it is over the limit. */
async function readBody(message: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of message) {
    if (!Buffer.isBuffer(chunk)) continue
    size += chunk.length
    if (size > peerLimits.bodyBytes) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function sameText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}

async function listen(server: Server, host: string, port: number): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    // Workers of one machine would share the port otherwise, and a call would reach any of them.
    server.listen({ port, host, exclusive: true }, () => {
      server.off('error', reject)
      resolve()
    })
  })
  const bound = server.address()
  if (bound === null || typeof bound === 'string') throw new Error('no address to listen on')
  return bound.family === 'IPv6'
    ? `[${bound.address}]:${bound.port}`
    : `${bound.address}:${bound.port}`
}
