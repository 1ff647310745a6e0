import { z } from 'zod'

/**
 * The declaration of an endpoint: the only description of it there is. The router, the typed caller and the OpenAPI
 * page are made from it.
 */
export interface Endpoint<
  N extends string = string,
  A extends Auth = Auth,
  P = unknown,
  Q = unknown,
  B = unknown,
  R = unknown,
> {
  readonly name: N
  readonly method: Method
  readonly auth: A
  readonly rateLimit: RateLimit
  /** Errcodes beyond those that any endpoint may answer. */
  readonly errors: readonly string[]
  /** The first is the one to call, the others are served too. A part in braces is a parameter. */
  readonly paths: readonly [string, ...string[]]
  readonly params: z.ZodType<P>
  readonly query: z.ZodType<Q>
  /** Whether there is a body; without one it is `undefined`. */
  readonly readsBody: boolean
  readonly body: z.ZodType<B>
  readonly reply: z.ZodType<R>
  /** Where the specification describes it, from the root of the specification. */
  readonly spec: string
}

export type Method = 'GET' | 'PUT' | 'POST' | 'DELETE'

/**
 * Who may call: anybody; anybody, but a token is looked at; a user or a guest; a user; an administrator of the server;
 * an application service; another server (signed requests).
 */
export type Auth = 'none' | 'optional' | 'guest' | 'token' | 'admin' | 'appservice' | 'server'

/** Class of the request budget that a call is taken from. */
export type RateLimit = 'none' | 'read' | 'write' | 'send' | 'join' | 'login' | 'register'

/** Named schemas, as the parameters of a path or a query are declared. */
export type Shape = Readonly<Record<string, z.ZodType>>
/** What a handler gets of a {@link Shape}. */
export type Fields<S extends Shape> = z.output<z.ZodObject<S>>

/** What {@link endpoint} is given. */
export interface Declaration<
  N extends string,
  A extends Auth,
  P extends Shape,
  Q extends Shape,
  B extends z.ZodType,
  R extends z.ZodType,
> {
  readonly name: N
  readonly method: Method
  readonly auth: A
  readonly rateLimit: RateLimit
  readonly paths: readonly [string, ...string[]]
  readonly errors?: readonly string[]
  readonly params?: P
  readonly query?: Q
  readonly body?: B
  readonly reply: R
  readonly spec?: string
}

/** Declares an endpoint; without `spec` the link is made as the specification makes its anchors. */
export function endpoint<
  const N extends string,
  const A extends Auth,
  P extends Shape = Record<never, never>,
  Q extends Shape = Record<never, never>,
  B extends z.ZodType = z.ZodUndefined,
  R extends z.ZodType = z.ZodType,
>(
  declared: Declaration<N, A, P, Q, B, R>,
): Endpoint<N, A, Fields<P>, Fields<Q>, z.output<B>, z.output<R>> {
  const { params, query, body, ...rest } = declared
  // The generic shapes are known to the caller of this function only; zod cannot follow them through the optional fields.
  return {
    ...rest,
    errors: declared.errors ?? [],
    spec: declared.spec ?? anchorOf(declared.method, declared.paths[0]),
    params: z.object(params ?? {}) as unknown as z.ZodType<Fields<P>>,
    query: z.object(query ?? {}) as unknown as z.ZodType<Fields<Q>>,
    readsBody: body !== undefined,
    body: (body ?? z.undefined()) as unknown as z.ZodType<z.output<B>>,
    reply: declared.reply as unknown as z.ZodType<z.output<R>>,
  }
}

/** `PUT /_matrix/client/v3/a/{b}` is at `client-server-api/#put_matrixclientv3ab`. */
function anchorOf(method: Method, path: string): string {
  const anchor = `${method}${path}`.replaceAll(/[^A-Za-z0-9_-]/g, '').toLowerCase()
  return `client-server-api/#${anchor}`
}

/** The path with its parameters filled in, each percent-encoded. */
export function fillPath(path: string, params: Readonly<Record<string, string>>): string {
  return path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params[name] ?? ''))
}
