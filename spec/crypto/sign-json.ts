import { canonicalJson } from '../canonical-json.ts'
import type { ServerName } from '../ids.ts'
import { isObject, type JsonObject, objectAt } from '../json.ts'
import { type SigningKey, verifySignature } from './ed25519.ts'

/**
 * The object with a server's signature added to those it has; `signatures` and `unsigned` are not covered.
 * {@link https://spec.matrix.org/v1.19/appendices/#signing-details}
 * @throws MatrixError M_BAD_JSON when it has no canonical JSON.
 */
export function signJson(obj: JsonObject, server: ServerName, key: SigningKey): JsonObject {
  return { ...obj, signatures: addSignature(obj, server, key, key.sign(bareJson(obj))) }
}

/** The object's `signatures` with one more; what stands there in another shape than it should is dropped. */
export function addSignature(
  obj: JsonObject,
  server: ServerName,
  key: SigningKey,
  signature: string,
): JsonObject {
  const others = obj['signatures']
  const own = { ...signaturesOf(obj, server), [key.keyId]: signature }
  return isObject(others) ? { ...others, [server]: own } : { [server]: own }
}

/** A server's signatures on the object by key id; only those that are strings. */
export function signaturesOf(
  obj: JsonObject,
  server: ServerName,
): Readonly<Record<string, string>> {
  const own = objectAt(objectAt(obj, 'signatures') ?? {}, server)
  const isSignature = (entry: readonly [string, unknown]): entry is [string, string] =>
    typeof entry[1] === 'string'
  return own ? Object.fromEntries(Object.entries(own).filter(isSignature)) : {}
}

/**
 * The id of every policy server's key. Rooms name the key, and no server publishes it.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#validating-policy-server-signatures}
 */
export const policyKeyId = 'ed25519:policy_server'

/** Most signatures of one server on one object that are tried: each costs a verification, and may cost a request. */
export const triedSignaturesMax = 10

/** Key id and signature of those of a server's signatures that may be tried: of a known algorithm, and not too many. */
export function triedSignatures(
  obj: JsonObject,
  server: ServerName,
): readonly (readonly [keyId: string, signature: string])[] {
  return Object.entries(signaturesOf(obj, server))
    .filter(([keyId]) => keyId.startsWith('ed25519:') && keyId !== policyKeyId)
    .slice(0, triedSignaturesMax)
}

/**
 * Has the server signed the object with this key.
 * {@link https://spec.matrix.org/v1.19/appendices/#checking-for-a-signature}
 * @param keyId as in `ed25519:a_1`; other algorithms verify nothing.
 * @param publicKey the key's 32 bytes in Base64.
 */
export function verifyJson(
  obj: JsonObject,
  server: ServerName,
  keyId: string,
  publicKey: string,
): boolean {
  const signature = signaturesOf(obj, server)[keyId]
  if (signature === undefined || !keyId.startsWith('ed25519:')) return false
  try {
    return verifySignature(publicKey, bareJson(obj), signature)
  } catch {
    // what has no canonical JSON has no valid signature
    return false
  }
}

/** What a signature of the object covers. */
function bareJson(obj: JsonObject): string {
  const { signatures, unsigned, ...signed } = obj
  return canonicalJson(signed)
}
