import { type Endpoint, fillPath } from './endpoint.ts'
import { MatrixError } from './errors.ts'
import { isObject, parseJson, stringAt } from './json.ts'

/** The part of `fetch` that a caller needs; the global one fits. */
export type Fetch = (
  url: string,
  init: { method: string; headers: Record<string, string>; body?: string },
) => Promise<{ readonly status: number; text(): Promise<string> }>

/** What a call carries: the fields of the endpoint's declaration that it has. */
interface Call<P, Q, B> {
  readonly params?: P
  readonly query?: Partial<Q>
  readonly body?: B
  readonly token?: string
}

/** Calls any declared endpoint of one server. */
export type Caller = <N extends string, P, Q, B, R>(
  endpoint: Endpoint<N, Endpoint['auth'], P, Q, B, R>,
  call?: Call<P, Q, B>,
) => Promise<R>

/** Deepest nesting that a caller accepts in an answer. */
const depthMax = 200

/** Makes a typed client of the server at `baseUrl`; an answer that is not 2xx is thrown as MatrixError. */
export function createCaller(baseUrl: string, fetch: Fetch): Caller {
  return async (endpoint, call = {}) => {
    const { params, query, body, token } = call
    const path = fillPath(endpoint.paths[0], textFields(params))
    const answer = await fetch(`${baseUrl}${path}${queryString(query)}`, {
      method: endpoint.method,
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      ...(endpoint.readsBody && { body: JSON.stringify(body ?? {}) }),
    })
    const text = await answer.text()
    if (answer.status >= 300) throw errorOf(answer.status, text)
    return endpoint.reply.parse(parseJson(text, { depthMax }))
  }
}

function errorOf(status: number, text: string): MatrixError {
  const json = text.startsWith('{') ? parseJson(text, { depthMax }) : {}
  if (!isObject(json)) return new MatrixError('M_UNKNOWN', text, { status })
  const { errcode: _code, error: _error, ...fields } = json
  const message = stringAt(json, 'error') ?? `the server answered ${status}`
  return new MatrixError(stringAt(json, 'errcode') ?? 'M_UNKNOWN', message, { status, fields })
}

function textFields(fields: unknown): Record<string, string> {
  const entries = typeof fields === 'object' && fields !== null ? Object.entries(fields) : []
  return Object.fromEntries(entries.map(([name, value]) => [name, String(value)]))
}

function queryString(query: unknown): string {
  if (typeof query !== 'object' || query === null) return ''
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value])
      .filter((one) => one !== undefined)
      .map((one) => `${encodeURIComponent(name)}=${encodeURIComponent(String(one))}`),
  )
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`
}
