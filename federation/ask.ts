/** One question to another server, as its endpoint declares it. */
import { type Endpoint, fillPath } from '../spec/endpoint.ts'
import { MatrixError } from '../spec/errors.ts'
import type { ServerName } from '../spec/ids.ts'
import type { JsonObject } from '../spec/json.ts'
import { splitText } from './list-splitter.ts'
import type { FederationClient, RemoteRequest } from './request.ts'

type QueryValue = string | number | boolean | readonly string[]

export interface Asked {
  readonly params?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, QueryValue | undefined>>
  readonly body?: JsonObject
}

export type AskOptions = Pick<RemoteRequest, 'timeoutMs' | 'replyBytesMax' | 'ignoreBackoff'>

/**
 * Fills in the endpoint's path, asks, and checks the answer's shape.
 * @throws MatrixError as FederationClient.call; M_CONNECTION_FAILED (502) when the answer has another shape
 */
export type Ask = <N extends string, P, Q, B, R>(
  server: ServerName,
  endpoint: Endpoint<N, 'server', P, Q, B, R>,
  asked: Asked,
  options?: AskOptions,
) => Promise<R>

export function createAsk({ client }: { readonly client: FederationClient }): Ask {
  return async (server, endpoint, asked, options) =>
    checked(server, endpoint, await client.call(server, requestOf(endpoint, asked, options)))
}

/** The answer without the lists, which are empty in it, and their elements as texts. */
interface Split<R> {
  readonly answer: R
  readonly lists: ReadonlyMap<string, readonly string[]>
}

/** As Ask, for a large answer whose lists of these names are left as texts: FederationClient.callSplit. */
export type AskSplit = <N extends string, P, Q, B, R>(
  server: ServerName,
  endpoint: Endpoint<N, 'server', P, Q, B, R>,
  asked: Asked,
  lists: readonly string[],
  options?: AskOptions,
) => Promise<Split<R>>

export function createAskSplit({ client }: { readonly client: FederationClient }): AskSplit {
  return async (server, endpoint, asked, names, options) => {
    const request = requestOf(endpoint, asked, options)
    const { rest, lists } = await (client.callSplit
      ? client.callSplit(server, request, names)
      : splitText(JSON.stringify(await client.call(server, request)), names))
    return { answer: checked(server, endpoint, rest), lists }
  }
}

function requestOf<N extends string, P, Q, B, R>(
  endpoint: Endpoint<N, 'server', P, Q, B, R>,
  { params = {}, query = {}, body }: Asked,
  options: AskOptions = {},
): RemoteRequest {
  const path = `${fillPath(endpoint.paths[0], params)}${queryText(query)}`
  const method = endpoint.method === 'DELETE' ? 'POST' : endpoint.method
  return { ...options, method, path, ...(body !== undefined && { body }) }
}

function checked<N extends string, P, Q, B, R>(
  server: ServerName,
  endpoint: Endpoint<N, 'server', P, Q, B, R>,
  answer: unknown,
): R {
  const parsed = endpoint.reply.safeParse(answer)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const where = issue?.path.slice(0, 3).join('.') ?? ''
  throw new MatrixError('M_CONNECTION_FAILED', `${server} sent an invalid answer (${where})`, {
    status: 502,
  })
}

/** `?a=1&b=2&b=3`, or nothing. */
function queryText(query: Readonly<Record<string, QueryValue | undefined>>): string {
  const pairs = Object.entries(query).flatMap(([name, value]) => {
    if (value === undefined) return []
    const values = typeof value === 'object' ? value : [String(value)]
    return values.map((one) => `${name}=${encodeURIComponent(one)}`)
  })
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`
}
