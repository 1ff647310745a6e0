import type { Requester } from '../homeserver/rooms/rooms.ts'
import type { Auth, Endpoint } from '../spec/endpoint.ts'
import { invalidParam, MatrixError } from '../spec/errors.ts'
import type { Json } from '../spec/json.ts'
import type { Answer } from './answer.ts'
import { limits } from './limits.ts'
import type { Origin } from './origin.ts'
import { parsePart } from './parse.ts'

/** What a handler gets: everything in it has been checked. */
export interface Input<P, Q, B> {
  readonly params: P
  readonly query: Q
  readonly body: B
  readonly from: Origin
}

/** A request before its parts are checked. */
interface Parts {
  readonly params: Readonly<Record<string, string>>
  readonly query: unknown
  readonly body: Json | undefined
  readonly from: Origin
}

/** An endpoint with what serves it. */
export interface Route<N extends string = string> {
  readonly endpoint: Endpoint<N>
  readonly serve: (parts: Parts, who: Requester | undefined) => Promise<unknown>
}

type Served<R> = Promise<R | Answer> | R | Answer
type WithToken = Exclude<Auth, 'none' | 'optional' | 'server'>

/** Serves an endpoint that needs an access token. */
export function route<N extends string, P, Q, B, R>(
  endpoint: Endpoint<N, WithToken, P, Q, B, R>,
  handler: (input: Input<P, Q, B>, who: Requester) => Served<R>,
): Route<N> {
  return {
    endpoint,
    serve: async (parts, who) => {
      if (who === undefined) throw new MatrixError('M_MISSING_TOKEN', 'Missing access token')
      return await handler(inputOf(endpoint, parts), who)
    },
  }
}

/** Serves an endpoint that anybody may call. */
export function openRoute<N extends string, P, Q, B, R>(
  endpoint: Endpoint<N, 'none' | 'optional', P, Q, B, R>,
  handler: (input: Input<P, Q, B>, who: Requester | undefined) => Served<R>,
): Route<N> {
  return { endpoint, serve: async (parts, who) => await handler(inputOf(endpoint, parts), who) }
}

function inputOf<P, Q, B>(
  { params, query, body }: Pick<Endpoint<string, Auth, P, Q, B>, 'params' | 'query' | 'body'>,
  parts: Parts,
): Input<P, Q, B> {
  return {
    params: parsePart(params, parts.params, 'path'),
    query: parsePart(query, parts.query, 'query'),
    body: parsePart(body, parts.body, 'body'),
    from: parts.from,
  }
}

/** What a path leads to. */
export type Match =
  | { readonly kind: 'route'; readonly route: Route; readonly params: Record<string, string> }
  /** Something is served here, by these methods. */
  | { readonly kind: 'method'; readonly allowed: readonly string[] }
  | { readonly kind: 'none' }

interface Node {
  readonly literals: Map<string, Node>
  parameter?: Node
  readonly methods: Map<string, { readonly route: Route; readonly names: readonly string[] }>
}

/**
 * Finds routes by walking a tree of path segments: the time does not depend on the number of routes. Literal
 * segments win over parameters.
 */
export function createRouter(routes: readonly Route[]) {
  const root = newNode()
  for (const one of routes) {
    for (const path of one.endpoint.paths.flatMap(withOlderPaths)) insert(root, path, one)
  }
  return {
    /** `path` is the raw path, without the query string. Throws M_INVALID_PARAM for a malformed %-encoding. */
    find(method: string, path: string): Match {
      const segments = path.split('/', limits.segmentsMax + 2)
      if (segments.length > limits.segmentsMax + 1) return { kind: 'none' }
      for (let i = 0; i < segments.length; i++) {
        const segment = segments[i]
        if (segment?.includes('%')) segments[i] = decode(segment)
      }
      const values: string[] = []
      const node = walk(root, segments, 1, values)
      if (node === undefined) return { kind: 'none' }
      const found = node.methods.get(method === 'HEAD' ? 'GET' : method)
      if (found === undefined) return { kind: 'method', allowed: [...node.methods.keys()] }
      return { kind: 'route', route: found.route, params: named(found.names, values) }
    },
  }
}

type Router = ReturnType<typeof createRouter>

export type { Router }

function newNode(): Node {
  return { literals: new Map(), methods: new Map() }
}

/** What was under `v3` was under `r0` before, and some clients still ask there. */
function withOlderPaths(path: string): string[] {
  const prefix = '/_matrix/client/v3/'
  return path.startsWith(prefix)
    ? [path, `/_matrix/client/r0/${path.slice(prefix.length)}`]
    : [path]
}

function insert(root: Node, path: string, one: Route): void {
  const names: string[] = []
  let node = root
  for (const segment of path.split('/').slice(1)) {
    const name = /^\{(\w+)\}$/.exec(segment)?.[1]
    if (name === undefined) {
      node = childOf(node, segment)
    } else {
      names.push(name)
      node.parameter ??= newNode()
      node = node.parameter
    }
  }
  const { method } = one.endpoint
  if (node.methods.has(method)) throw new Error(`two routes for ${method} ${path}`)
  node.methods.set(method, { route: one, names })
}

function childOf(node: Node, segment: string): Node {
  const known = node.literals.get(segment)
  if (known !== undefined) return known
  const made = newNode()
  node.literals.set(segment, made)
  return made
}

/** The node at the end of the segments; collects in `values` what the parameters on the way stand for. */
function walk(
  node: Node,
  segments: readonly string[],
  at: number,
  values: string[],
): Node | undefined {
  const segment = segments[at]
  if (segment === undefined) return node.methods.size > 0 ? node : undefined
  const literal = node.literals.get(segment)
  const found = literal && walk(literal, segments, at + 1, values)
  if (found !== undefined || node.parameter === undefined || segment === '') return found
  values.push(segment)
  const beyond = walk(node.parameter, segments, at + 1, values)
  if (beyond === undefined) values.pop()
  return beyond
}

function named(names: readonly string[], values: readonly string[]): Record<string, string> {
  const params: Record<string, string> = {}
  for (let i = 0; i < names.length; i++) params[names[i] ?? ''] = values[i] ?? ''
  return params
}

/** No identifier has a NUL in it, and no database holds one in a text. */
function decode(segment: string): string {
  if (segment.includes('%00')) throw invalidParam('path', 'contains NUL')
  try {
    return decodeURIComponent(segment)
  } catch {
    throw invalidParam('path', 'malformed percent-encoding')
  }
}
