/** HTTPS between a scripted peer and a homeserver: requests signed as X-Matrix, and the check of those that come in. */

import type { IncomingMessage } from 'node:http'
import { type RequestOptions as HttpsOptions, request as httpsRequest } from 'node:https'
import type { Body } from './http.ts'
import { isBody } from './http.ts'
import { canonical, type SigningKey, signObject, signText } from './signing.ts'

const timeoutMs = 20_000
const bodyMaxBytes = 20_000_000

/** A request from or to another server. */
export interface FederationRequest {
  readonly method: string
  /** Path and query as they are signed. */
  readonly uri: string
  readonly body?: Body
}

/** The Authorization header of a signed request. */
export function authorization(
  request: FederationRequest,
  origin: string,
  destination: string,
  key: SigningKey,
): string {
  const signed = signObject(
    {
      method: request.method,
      uri: request.uri,
      origin,
      destination,
      ...(request.body === undefined ? {} : { content: request.body }),
    },
    origin,
    key,
  )
  const signature: unknown = Reflect.get(Object(signed.signatures)[origin], key.id)
  return `X-Matrix origin="${origin}",destination="${destination}",key="${key.id}",sig="${signature}"`
}

/** The Authorization header of a request whose body is signed as the text that it is. */
export function textAuthorization(
  { method, uri, text }: { method: string; uri: string; text: string },
  origin: string,
  destination: string,
  key: SigningKey,
): string {
  const rest = canonical({ destination, method, origin, uri })
  const signature = signText(`{"content":${text},${rest.slice(1)}`, key)
  return `X-Matrix origin="${origin}",destination="${destination}",key="${key.id}",sig="${signature}"`
}

/** Sends a request over TLS and reads the answer as JSON. */
export async function sendHttps(
  server: { host: string; port: number; ca: string },
  request: FederationRequest & {
    readonly headers?: Record<string, string>
    /** Sent as it is, instead of `body`. */
    readonly text?: string
  },
): Promise<{ status: number; body: Body; text: string }> {
  const payload =
    request.text ?? (request.body === undefined ? undefined : JSON.stringify(request.body))
  const options: HttpsOptions = {
    host: '127.0.0.1',
    servername: server.host === '127.0.0.1' ? '' : server.host,
    port: server.port,
    ca: server.ca,
    method: request.method,
    path: request.uri,
    timeout: timeoutMs,
    headers: {
      host: `${server.host}:${server.port}`,
      ...(payload === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }),
      ...request.headers,
    },
  }
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const outgoing = httpsRequest(options, resolve)
    outgoing.once('error', reject)
    outgoing.once('timeout', () => outgoing.destroy(new Error(`${request.uri}: no answer`)))
    outgoing.end(payload)
  })
  const text = await readText(response)
  return { status: response.statusCode ?? 0, body: parse(text), text }
}

/** Reads a message's body as text, within a limit. */
export async function readText(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of message) {
    if (!Buffer.isBuffer(chunk)) continue
    size += chunk.length
    if (size > bodyMaxBytes) throw new Error('the body is too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

/** Parses a JSON object; anything else is the empty object. */
export function parse(text: string): Body {
  try {
    const value: unknown = JSON.parse(text)
    return isBody(value) ? value : {}
  } catch {
    return {}
  }
}

/** The members of an X-Matrix header. */
export function parseAuthorization(header: string | undefined): Record<string, string> {
  const members: Record<string, string> = {}
  for (const [, name, quoted, bare] of (header ?? '').matchAll(/(\w+)=(?:"([^"]*)"|([^",\s]+))/g)) {
    if (name !== undefined) members[name] = quoted ?? bare ?? ''
  }
  return members
}
