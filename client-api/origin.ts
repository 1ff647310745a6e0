import type { IncomingMessage, ServerResponse } from 'node:http'

/** Where a request comes from. */
export interface Origin {
  readonly ip: string
  readonly userAgent: string
  /** The address by which the client reached this server, such as `https://example.org`. */
  readonly baseUrl: string
  /** The body of a request whose endpoint declares none, as it comes. */
  readonly content: AsyncIterable<Uint8Array>
  /** A header by its lower-case name. */
  header(name: string): string | undefined
  /** Aborted when the client has gone, and when this process begins to stop. */
  readonly signal: AbortSignal
}

/** Reads the origin off a request; what a proxy claims counts only when the proxy is trusted. */
export function originOf(
  req: IncomingMessage,
  res: ServerResponse,
  isTrustedProxy: (address: string) => boolean,
  stopping?: AbortSignal,
): Origin {
  const peer = req.socket.remoteAddress ?? ''
  const forwarded = req.headers['x-forwarded-for']
  const proxied = typeof forwarded === 'string' && isTrustedProxy(peer)
  const ip = proxied ? (forwarded.split(',').at(-1)?.trim() ?? peer) : peer
  return new RequestOrigin(ip, proxied, req, res, stopping)
}

/** Makes what few handlers need only when they ask: the signal and the address. */
class RequestOrigin implements Origin {
  readonly ip: string
  readonly #proxied: boolean
  readonly #req: IncomingMessage
  readonly #res: ServerResponse
  readonly #stopping: AbortSignal | undefined
  #controller: AbortController | undefined

  constructor(
    ip: string,
    proxied: boolean,
    req: IncomingMessage,
    res: ServerResponse,
    stopping: AbortSignal | undefined,
  ) {
    this.ip = ip
    this.#proxied = proxied
    this.#req = req
    this.#res = res
    this.#stopping = stopping
  }

  get userAgent(): string {
    return this.#req.headers['user-agent'] ?? ''
  }

  /** Who stops reading still gets an answer: the connection is left open. */
  get content(): AsyncIterable<Uint8Array> {
    return this.#req.iterator({ destroyOnReturn: false })
  }

  header(name: string): string | undefined {
    const value = this.#req.headers[name]
    return typeof value === 'string' ? value : undefined
  }

  get baseUrl(): string {
    const secure = this.#proxied && this.#req.headers['x-forwarded-proto'] === 'https'
    return `${secure ? 'https' : 'http'}://${this.#req.headers.host ?? 'localhost'}`
  }

  get signal(): AbortSignal {
    if (this.#controller !== undefined) return this.#controller.signal
    const controller = new AbortController()
    this.#controller = controller
    const stopping = this.#stopping
    const abort = () => controller.abort()
    if (this.#res.closed || stopping?.aborted) abort()
    else {
      const stopListening = stopping && whenStopping(stopping, abort)
      this.#res.once('close', () => {
        stopListening?.()
        // Who has the whole answer may go.
        if (!this.#res.writableEnded) abort()
      })
    }
    return controller.signal
  }
}

/** Requests that end when a process begins to stop. A signal looks through all its listeners for each that comes or goes. */
const waiting = new WeakMap<AbortSignal, Set<() => void>>()

function whenStopping(stopping: AbortSignal, call: () => void): () => void {
  const calls = waiting.get(stopping) ?? listenOnce(stopping)
  calls.add(call)
  return () => void calls.delete(call)
}

function listenOnce(stopping: AbortSignal): Set<() => void> {
  const calls = new Set<() => void>()
  waiting.set(stopping, calls)
  const callAll = () => {
    for (const call of calls) call()
  }
  stopping.addEventListener('abort', callAll, { once: true })
  return calls
}
