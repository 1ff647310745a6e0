/**
 * One HTTP request through the guarded dispatcher, bounded in bytes (before and after inflation) and time. Without
 * undici's fetch, which inflates without limit.
 */
import { promisify } from 'node:util'
import { brotliDecompress, gunzip, inflate } from 'node:zlib'
import { type Dispatcher, request } from 'undici'

export interface GuardedRequest {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE'
  readonly url: URL
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** For everything, from resolving the name to the last byte. */
  readonly timeoutMs: number
  /** Before and after inflation. */
  readonly replyBytesMax: number
  readonly signal?: AbortSignal
  /** For a reply with this status, what takes its body as it comes, inflated; the reply's own is empty then. */
  readonly takerOf?: (status: number) => ((chunk: Buffer) => void) | undefined
}

export interface GuardedReply {
  readonly status: number
  /** The first value of a header, by its lower-case name. */
  header(name: string): string | undefined
  readonly body: Buffer
}

/** An answer was larger than its caller allows. */
export class ReplyTooLargeError extends Error {
  override readonly name = 'ReplyTooLargeError'
  readonly code = 'REPLY_TOO_LARGE'
}

/**
 * Sends one request and reads the whole answer; redirects are answers like others.
 * @throws Error of undici or Node when no answer came in time, ReplyTooLargeError, ForbiddenAddressError
 */
export async function guardedRequest(
  dispatcher: Dispatcher,
  asked: GuardedRequest,
): Promise<GuardedReply> {
  const deadline = AbortSignal.timeout(asked.timeoutMs)
  const reply = await request(asked.url, {
    dispatcher,
    method: asked.method,
    headers: { ...asked.headers },
    body: asked.body ?? null,
    headersTimeout: asked.timeoutMs,
    bodyTimeout: asked.timeoutMs,
    signal: asked.signal ? AbortSignal.any([deadline, asked.signal]) : deadline,
  })
  const header = (name: string) => {
    const value = reply.headers[name]
    return Array.isArray(value) ? value[0] : value
  }
  const take = asked.takerOf?.(reply.statusCode)
  const encoding = header('content-encoding')?.trim().toLowerCase() ?? ''
  const isPlain = encoding === '' || encoding === 'identity'
  const raw = await readAll(reply.body, asked.replyBytesMax, isPlain ? take : undefined)
  const whole = isPlain ? raw : await inflated(raw, encoding, asked.replyBytesMax)
  if (!isPlain) take?.(whole)
  const body = take === undefined ? whole : Buffer.alloc(0)
  return { status: reply.statusCode, header, body }
}

/** An answer whose body is read as it comes. */
export interface GuardedStream {
  readonly status: number
  /** The first value of a header, by its lower-case name. */
  header(name: string): string | undefined
  /** Ends with ReplyTooLargeError at the first byte too many. */
  readonly body: AsyncIterable<Buffer>
  /** For whoever does not read to the end: closes the connection. */
  drop(): void
}

/**
 * GET whose answer may be large: the reader sets the pace. `headersMs` is the time until it begins, `timeoutMs` that
 * for everything.
 * @throws as guardedRequest; Error for an answer in a content encoding, none of which is asked for
 */
export async function guardedStream(
  dispatcher: Dispatcher,
  asked: Omit<GuardedRequest, 'method' | 'body' | 'takerOf'> & { readonly headersMs: number },
): Promise<GuardedStream> {
  const deadline = AbortSignal.timeout(asked.timeoutMs)
  const reply = await request(asked.url, {
    dispatcher,
    method: 'GET',
    headers: { ...asked.headers, 'accept-encoding': 'identity' },
    headersTimeout: asked.headersMs,
    bodyTimeout: asked.headersMs,
    signal: asked.signal ? AbortSignal.any([deadline, asked.signal]) : deadline,
  })
  const header = (name: string) => {
    const value = reply.headers[name]
    return Array.isArray(value) ? value[0] : value
  }
  // Destroying it is an error of the body that nobody has to hear of.
  const drop = () => void reply.body.on('error', () => {}).destroy()
  if ((header('content-encoding') ?? 'identity') !== 'identity') {
    drop()
    throw new Error('answer in a content encoding')
  }
  return { status: reply.statusCode, header, body: capped(reply.body, asked.replyBytesMax), drop }
}

async function* capped(body: AsyncIterable<Buffer>, bytesMax: number): AsyncIterable<Buffer> {
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > bytesMax) throw new ReplyTooLargeError(`answer larger than ${bytesMax} bytes`)
    yield chunk
  }
}

/**
 * GET that follows redirects to https, each under the same check of addresses.
 * @throws as guardedRequest; Error 'too many redirects', Error 'redirected away from https'
 */
export async function guardedGet(
  dispatcher: Dispatcher,
  asked: Omit<GuardedRequest, 'method' | 'body'> & { readonly redirectsMax: number },
): Promise<GuardedReply> {
  const deadline = AbortSignal.timeout(asked.timeoutMs)
  const signal = asked.signal ? AbortSignal.any([deadline, asked.signal]) : deadline
  let url = asked.url
  for (let hops = 0; hops <= asked.redirectsMax; hops++) {
    const reply = await guardedRequest(dispatcher, { ...asked, method: 'GET', url, signal })
    const location = reply.header('location')
    if (!isRedirect(reply.status) || location === undefined) return reply
    url = new URL(location, url)
    if (url.protocol !== 'https:') throw new Error('redirected away from https')
  }
  throw new Error('too many redirects')
}

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308
}

async function readAll(
  body: Dispatcher.ResponseData['body'],
  bytesMax: number,
  take?: (chunk: Buffer) => void,
): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > bytesMax) {
      body.destroy()
      throw new ReplyTooLargeError(`answer larger than ${bytesMax} bytes`)
    }
    if (take === undefined) chunks.push(chunk)
    else take(chunk)
  }
  return chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, bytes)
}

type Inflate = (data: Buffer, limits: { maxOutputLength: number }) => Promise<Buffer>

const inflaters: ReadonlyMap<string, Inflate> = new Map<string, Inflate>([
  ['gzip', promisify(gunzip)],
  ['x-gzip', promisify(gunzip)],
  ['deflate', promisify(inflate)],
  ['br', promisify(brotliDecompress)],
])

/** We ask for no encoding; some send one anyway. */
async function inflated(raw: Buffer, encoding: string, bytesMax: number): Promise<Buffer> {
  const inflater = inflaters.get(encoding)
  if (!inflater) throw new Error('answer in an unknown content encoding')
  try {
    return await inflater(raw, { maxOutputLength: bytesMax })
  } catch (error) {
    if (error instanceof RangeError) {
      throw new ReplyTooLargeError(`answer larger than ${bytesMax} bytes when inflated`)
    }
    throw error
  }
}
