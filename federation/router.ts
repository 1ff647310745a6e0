/** From an endpoint's declaration to what serves it: paths, parsed parts, the answer as text. */
import { z } from 'zod'
import type { Auth, Endpoint } from '../spec/endpoint.ts'
import { badJson, invalidParam, MatrixError } from '../spec/errors.ts'
import type { ServerName } from '../spec/ids.ts'
import type { Json } from '../spec/json.ts'

/** What a handler gets: everything in it has been checked. */
export interface Call<P, Q, B> {
  readonly params: P
  readonly query: Q
  readonly body: B
}

/** A request whose sender is known and whose parts are not checked yet. */
export interface Parts {
  readonly params: Readonly<Record<string, string>>
  readonly query: Readonly<Record<string, string | readonly string[]>>
  readonly body: Json | undefined
}

export interface Route {
  readonly endpoint: Endpoint
  /** Answers the body's JSON text, or what is not JSON. `origin` is there when the endpoint's requests are signed. */
  readonly serve: (parts: Parts, origin: ServerName | undefined) => Promise<string | Streamed>
}

/** An answer that is JSON text already: events are sent as they are stored. */
export class JsonText {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/** An answer that is not JSON, written as it is read. */
export class Streamed {
  readonly type: string
  readonly body: AsyncIterable<Uint8Array>
  constructor(type: string, body: AsyncIterable<Uint8Array>) {
    this.type = type
    this.body = body
  }
}

type Answer<R> = R | JsonText | Streamed
type Served<R> = Promise<Answer<R>> | Answer<R>

/** Serves an endpoint whose requests are signed. */
export function route<P, Q, B, R>(
  endpoint: Endpoint<string, 'server', P, Q, B, R>,
  handler: (call: Call<P, Q, B>, origin: ServerName) => Served<R>,
): Route {
  return {
    endpoint,
    serve: async (parts, origin) => {
      if (origin === undefined) throw new MatrixError('M_UNAUTHORIZED', 'not signed')
      return textOf(await handler(callOf(endpoint, parts), origin))
    },
  }
}

/** Serves an endpoint that anybody may ask. */
export function openRoute<P, Q, B, R>(
  endpoint: Endpoint<string, 'none', P, Q, B, R>,
  handler: (call: Call<P, Q, B>) => Served<R>,
): Route {
  return { endpoint, serve: async (parts) => textOf(await handler(callOf(endpoint, parts))) }
}

function textOf(answer: unknown): string | Streamed {
  if (answer instanceof Streamed) return answer
  return answer instanceof JsonText ? answer.text : JSON.stringify(answer)
}

function callOf<P, Q, B>(
  { params, query, body }: Pick<Endpoint<string, Auth, P, Q, B>, 'params' | 'query' | 'body'>,
  parts: Parts,
): Call<P, Q, B> {
  return {
    params: parsed(params, parts.params, invalidParam),
    query: parsed(query, parts.query, invalidParam),
    body: parsed(body, parts.body, badJson),
  }
}

/** @throws MatrixError naming the field */
function parsed<T>(
  schema: z.ZodType<T> | undefined,
  value: unknown,
  error: (field: string, reason: string) => MatrixError,
): T {
  // An endpoint that declares no body does not look at it.
  const result = (schema ?? z.custom<T>()).safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw error(issue?.path.join('.') || 'body', issue?.message ?? 'invalid')
}

/** What a path leads to. */
export type Match =
  | { readonly kind: 'route'; readonly route: Route; readonly params: Record<string, string> }
  /** The path is served, but not by this method. */
  | { readonly kind: 'method' }
  | { readonly kind: 'none' }

/** Endpoints between servers end in their parameters; there are at most so many. */
const parametersMax = 2

/** Finds routes by the literal beginning of their paths. */
export function createRouter(routes: readonly Route[]): (method: string, path: string) => Match {
  const table = new Map<string, Map<string, { route: Route; names: readonly string[] }>>()
  for (const one of routes) {
    for (const path of one.endpoint.paths) {
      const segments = path.split('/')
      const names = segments.filter((part) => part.startsWith('{')).map((part) => part.slice(1, -1))
      const key = `${names.length}${segments.slice(0, segments.length - names.length).join('/')}`
      const methods = table.get(key) ?? new Map()
      table.set(key, methods.set(one.endpoint.method, { route: one, names }))
    }
  }
  return (method, path) => {
    const segments = path.split('/', 32)
    for (let count = 0; count <= parametersMax; count++) {
      const literal = segments.slice(0, segments.length - count).join('/')
      const methods = table.get(`${count}${literal}`)
      const found = methods?.get(method)
      if (methods && !found) return { kind: 'method' }
      if (!found) continue
      const values = segments.slice(segments.length - count)
      const params = Object.fromEntries(found.names.map((name, at) => [name, decoded(values[at])]))
      return { kind: 'route', route: found.route, params }
    }
    return { kind: 'none' }
  }
}

function decoded(segment = ''): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    throw invalidParam('path', 'malformed percent-encoding')
  }
}
