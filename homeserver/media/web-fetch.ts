/** Pages and pictures of the web, at addresses that users choose. */
import type { Dispatcher } from 'undici'
import { type GuardedStream, guardedStream } from '../platform/guarded-request.ts'

export interface WebLimits {
  /** Until the answer begins, over all redirects. */
  readonly headersMs: number
  /** For everything. */
  readonly timeoutMs: number
  readonly bytesMax: number
}

export interface WebAnswer {
  /** Where the redirects led. */
  readonly url: URL
  readonly contentType: string
  readonly body: AsyncIterable<Buffer>
  /** For whoever does not read to the end. */
  drop(): void
}

const redirectsMax = 5
/** Names the sender, and what many sites show pages for previews to. */
const userAgent = 'Mozilla/5.0 (compatible; Folkmoot; link preview bot)'

/**
 * GET, following redirects; each address is checked by the dispatcher.
 * @throws Error when no page came: refused address, status, time, too many redirects
 */
export async function fetchFromWeb(
  dispatcher: Dispatcher,
  from: URL,
  limits: WebLimits,
  // Throws for what is not to be asked, wherever the way there leads from.
  check: (url: URL) => void,
): Promise<WebAnswer> {
  const signal = AbortSignal.timeout(limits.timeoutMs)
  let url = from
  for (let hops = 0; hops <= redirectsMax; hops++) {
    if (!isWeb(url)) throw new Error('not an address of the web')
    check(url)
    const reply = await ask(dispatcher, url, limits, signal)
    const location = reply.header('location')
    if (reply.status >= 200 && reply.status <= 299) {
      const contentType = reply.header('content-type') ?? ''
      return { url, contentType, body: reply.body, drop: reply.drop }
    }
    reply.drop()
    if (reply.status < 300 || reply.status > 399 || location === undefined) {
      throw new Error(`status ${reply.status}`)
    }
    url = new URL(location, url)
  }
  throw new Error('too many redirects')
}

function ask(
  dispatcher: Dispatcher,
  url: URL,
  { headersMs, timeoutMs, bytesMax: replyBytesMax }: WebLimits,
  signal: AbortSignal,
): Promise<GuardedStream> {
  const headers = { 'user-agent': userAgent, 'accept-language': 'en, *;q=0.5' }
  return guardedStream(dispatcher, { url, headers, headersMs, timeoutMs, replyBytesMax, signal })
}

/** Over HTTP, and without a name and password in it. */
export function isWeb({ protocol, username, password }: URL): boolean {
  return (protocol === 'https:' || protocol === 'http:') && username === '' && password === ''
}
