import { canonicalJson } from '../../spec/canonical-json.ts'
import { verifySignature } from '../../spec/crypto/ed25519.ts'
import type { UserId } from '../../spec/ids.ts'
import { isObject, type Json, type JsonObject, objectAt } from '../../spec/json.ts'
import type { SignatureRow } from './queries.ts'

/** Keys as a client uploads them. */
export interface SigningKeys {
  readonly master?: JsonObject
  readonly selfSigning?: JsonObject
  readonly userSigning?: JsonObject
}

/** Keys of users, as one part of an answer. */
export interface UserKeys {
  readonly devices: JsonObject
  readonly master?: JsonObject
  readonly selfSigning?: JsonObject
  /** Only for the user's own eyes. */
  readonly userSigning?: JsonObject
}

/** The one public key of a cross-signing key, which is also its id. */
export function publicPart(key: JsonObject): string {
  const [value] = Object.values(objectAt(key, 'keys') ?? {})
  return typeof value === 'string' ? value : ''
}

/** Does the object carry this key's valid signature of the user. */
export function isSignedBy(
  signed: JsonObject,
  user: UserId,
  keyName: string,
  publicKey: string,
): boolean {
  const signature = objectAt(objectAt(signed, 'signatures') ?? {}, user)?.[keyName]
  if (typeof signature !== 'string') return false
  return verifySignature(publicKey, canonicalJson(unsignedForm(signed)), signature)
}

/** The key with these signatures beside its own. */
export function withSignatures(
  key: JsonObject,
  rows: readonly Pick<SignatureRow, 'signer_user_id' | 'signer_key_id' | 'signature'>[],
): JsonObject {
  if (rows.length === 0) return key
  const signatures: Record<string, Json> = { ...objectAt(key, 'signatures') }
  for (const row of rows) {
    const before = signatures[row.signer_user_id]
    signatures[row.signer_user_id] = {
      ...(isObject(before) ? before : {}),
      [row.signer_key_id]: row.signature,
    }
  }
  return { ...key, signatures }
}

/** What signatures cover. */
export function unsignedForm(signed: JsonObject): JsonObject {
  const { signatures: _signatures, unsigned: _unsigned, ...form } = signed
  return form
}
