/**
 * Signing by an implementation that shares nothing with the server's: tweetnacl, and a serializer of its own.
 */
import { createHash, randomBytes } from 'node:crypto'
import nacl from 'tweetnacl'
import { type Body, isBody } from './http.ts'

/** An Ed25519 key pair with its id, `ed25519:…`. */
export interface SigningKey {
  readonly id: string
  readonly publicKey: string
  readonly secret: Uint8Array
}

/** Makes a new key; the id is drawn when none is given. */
export function createSigningKey(id = `ed25519:${randomBytes(3).toString('hex')}`): SigningKey {
  const pair = nacl.sign.keyPair()
  return { id, publicKey: unpadded(pair.publicKey), secret: pair.secretKey }
}

/** Base64 without padding. {@link https://spec.matrix.org/v1.19/appendices/#unpadded-base64} */
export function unpadded(bytes: Uint8Array, url = false): string {
  return Buffer.from(bytes)
    .toString(url ? 'base64url' : 'base64')
    .replace(/=+$/, '')
}

/** Canonical JSON. {@link https://spec.matrix.org/v1.19/appendices/#canonical-json} */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (!isBody(value)) return JSON.stringify(value)
  const members = Object.entries(value).filter(([, member]) => member !== undefined)
  const sorted = members.sort(([a], [b]) => byCodePoint(a, b))
  return `{${sorted.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(',')}}`
}

function byCodePoint(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

/** SHA-256. */
export function sha256(text: string): Uint8Array {
  return createHash('sha256').update(text).digest()
}

/** The signature over a text. */
export function signText(text: string, key: SigningKey): string {
  return unpadded(nacl.sign.detached(Buffer.from(text), key.secret))
}

/** Signs an object; signatures and `unsigned` are not covered. */
export function signObject<T extends Body>(object: T, signer: string, key: SigningKey) {
  const { signatures, unsigned, ...covered } = object
  const signature = signText(canonical(covered), key)
  const others = typeof signatures === 'object' && signatures !== null ? signatures : {}
  const mine = { ...Object(Reflect.get(others, signer)), [key.id]: signature }
  return { ...object, signatures: { ...others, [signer]: mine } }
}

/** Does the object carry a valid signature of the signer by this key. */
export function verifyObject(
  object: Body,
  signer: string,
  keyId: string,
  publicKey: string,
): boolean {
  const { signatures, unsigned: _, ...covered } = object
  const found: unknown = Object(Object(signatures)[signer])[keyId]
  if (typeof found !== 'string') return false
  return nacl.sign.detached.verify(
    Buffer.from(canonical(covered)),
    Buffer.from(found, 'base64'),
    Buffer.from(publicKey, 'base64'),
  )
}
