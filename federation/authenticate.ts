/**
 * Who sent a request: the X-Matrix header and the signature over the request.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#request-authentication}
 */
import { lenientCanonicalJson } from '../spec/canonical-json.ts'
import { verifySignature } from '../spec/crypto/ed25519.ts'
import { MatrixError } from '../spec/errors.ts'
import { isServerName, type ServerName } from '../spec/ids.ts'
import type { Json } from '../spec/json.ts'
import type { FetchingKeyRing } from './key-ring.ts'
import { signedRequest } from './request.ts'

/** The parameters of an X-Matrix header. */
export interface Credentials {
  readonly origin: ServerName
  readonly destination?: string
  readonly key: string
  readonly sig: string
}

export interface SignedRequest {
  readonly method: string
  /** Path and query string as they came. */
  readonly uri: string
  /** The body's text; absent when there was none. */
  readonly text?: string
  /** The parsed body. */
  readonly content?: Json
}

const headerLengthMax = 2_048
const parametersMax = 16

/**
 * Reads the header, before anything of the body is read.
 * @throws MatrixError M_UNAUTHORIZED (401)
 */
export function readCredentials(header: string | undefined, serverName: ServerName): Credentials {
  const scheme = header === undefined ? null : /^X-Matrix +/i.exec(header)
  if (header === undefined || !scheme || header.length > headerLengthMax) {
    throw unauthorized('missing or malformed Authorization header')
  }
  const parameters = parseParameters(header.slice(scheme[0].length))
  const origin = parameters?.get('origin')
  const destination = parameters?.get('destination')
  const key = parameters?.get('key')
  const sig = parameters?.get('sig')
  if (!isServerName(origin) || key === undefined || sig === undefined) {
    throw unauthorized('malformed Authorization header')
  }
  // Servers must deny a request that was meant for another one.
  if (destination !== undefined && destination !== serverName) {
    throw unauthorized('this request is for another server')
  }
  if (origin === serverName) throw unauthorized('a server does not ask itself')
  return { origin, key, sig, ...(destination !== undefined && { destination }) }
}

/**
 * The public key of the server that says it sent the request; looked for before anything of the body is read.
 * @throws MatrixError M_UNAUTHORIZED (401) when the key cannot be had
 */
export async function requireKey(
  keys: Pick<FetchingKeyRing, 'senderKey'>,
  { origin, key }: Credentials,
): Promise<string> {
  const publicKey = await keys.senderKey(origin, key)
  if (publicKey === undefined) throw unauthorized(`no valid key ${key} of ${origin}`)
  return publicKey
}

/**
 * Checks the signature; what comes back is the server that sent the request.
 * @throws MatrixError M_UNAUTHORIZED (401) when the signature is wrong
 */
export function requireSignature(
  publicKey: string,
  credentials: Credentials,
  request: SignedRequest,
): ServerName {
  const { origin, destination, sig } = credentials
  const signed = {
    method: request.method,
    uri: request.uri,
    origin,
    ...(destination !== undefined && { destination }),
  }
  // Nearly all servers send the canonical form that they have signed: then the body need not be serialised again.
  if (verifySignature(publicKey, signedRequest(signed, request.text), sig)) return origin
  const canonical = request.content === undefined ? undefined : canonicalOf(request.content)
  if (canonical !== request.text) {
    if (verifySignature(publicKey, signedRequest(signed, canonical), sig)) return origin
  }
  throw unauthorized(`wrong signature of ${origin}`)
}

function canonicalOf(content: Json): string {
  try {
    return lenientCanonicalJson(content)
  } catch {
    throw unauthorized('the body has no canonical form')
  }
}

/**
 * `name=value` pairs with commas between them; values quoted (backslash escapes) or not, and then also with colons.
 * Undefined when it is anything else.
 */
function parseParameters(text: string): ReadonlyMap<string, string> | undefined {
  const parameters = new Map<string, string>()
  const pair = /[ \t]*([\w!#$%&'*+.^`|~-]+)=(?:"((?:[^"\\]|\\.)*)"|([^",\s]*))[ \t]*(,|$)/y
  let more = true
  while (more) {
    const match = pair.exec(text)
    const [, name, quoted, token, end] = match ?? []
    if (name === undefined || parameters.size >= parametersMax) return undefined
    const value = quoted === undefined ? token : quoted.replaceAll(/\\(.)/g, '$1')
    const key = name.toLowerCase()
    // A name that is there twice could be read in two ways.
    if (parameters.has(key)) return undefined
    parameters.set(key, value ?? '')
    more = end === ','
  }
  return parameters
}

function unauthorized(reason: string): MatrixError {
  return new MatrixError('M_UNAUTHORIZED', reason, { status: 401 })
}
