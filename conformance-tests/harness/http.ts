/** One HTTP request to a homeserver, with a deadline; the answer is parsed but not judged. */
import { z } from 'zod'

const requestTimeoutMs = 30_000

/** A JSON object of which nothing is known yet. */
export type Body = { readonly [key: string]: unknown }

/** An answer as it came. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  /** The parsed JSON body, `{}` when there was none. */
  readonly body: Body
  readonly text: string
}

/** What to send. */
export interface RequestOptions {
  /** Sent as JSON. */
  readonly body?: unknown
  /** Sent as it is, instead of `body`. */
  readonly raw?: string | Uint8Array<ArrayBuffer>
  readonly query?: Readonly<
    Record<string, string | number | boolean | readonly string[] | undefined>
  >
  readonly token?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly timeoutMs?: number
}

const errorBody = z.looseObject({ errcode: z.string().catch(''), error: z.string().catch('') })

/** An answer outside 200–299, thrown by `send`. */
class ApiError extends Error {
  readonly status: number
  readonly errcode: string
  readonly body: Body
  constructor(what: string, answer: Answer) {
    const { errcode, error } = errorBody.parse(answer.body)
    super(`${what}: ${answer.status} ${errcode} ${error}`)
    this.name = 'ApiError'
    this.status = answer.status
    this.errcode = errcode
    this.body = answer.body
  }
}

/** Sends a request and returns the answer, whatever its status. */
export async function ask(
  base: string,
  method: string,
  path: string,
  options: RequestOptions = {},
): Promise<Answer> {
  const headers: Record<string, string> = { ...options.headers }
  if (options.token !== undefined) headers['authorization'] = `Bearer ${options.token}`
  const payload =
    options.raw ?? (options.body === undefined ? undefined : JSON.stringify(options.body))
  if (payload !== undefined) headers['content-type'] ??= 'application/json'
  const response = await fetch(base + path + queryString(options.query), {
    method,
    headers,
    ...(payload === undefined ? {} : { body: payload }),
    signal: AbortSignal.timeout(options.timeoutMs ?? requestTimeoutMs),
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: parseObject(text), text }
}

/** Sends a request; an answer outside 200–299 is thrown as an ApiError. */
export async function send(
  base: string,
  method: string,
  path: string,
  options: RequestOptions = {},
): Promise<Body> {
  return bodyOf(`${method} ${path}`, await ask(base, method, path, options))
}

/** The body of an answer to `what`; one outside 200–299 is thrown as an ApiError. */
export function bodyOf(what: string, answer: Answer): Body {
  if (answer.status < 200 || answer.status > 299) throw new ApiError(what, answer)
  return answer.body
}

/** Joins path segments, each percent-encoded. */
export function path(prefix: string, ...segments: readonly string[]): string {
  return [prefix, ...segments.map(encodeURIComponent)].join('/')
}

function queryString(query: RequestOptions['query']): string {
  const search = new URLSearchParams()
  for (const [key, value] of Object.entries(query ?? {})) {
    if (value === undefined) continue
    for (const one of Array.isArray(value) ? value : [value]) search.append(key, String(one))
  }
  return search.size === 0 ? '' : `?${search}`
}

function parseObject(text: string): Body {
  if (text === '') return {}
  try {
    const value: unknown = JSON.parse(text)
    return isBody(value) ? value : {}
  } catch {
    return {}
  }
}

/** Is this a JSON object. */
export function isBody(value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
