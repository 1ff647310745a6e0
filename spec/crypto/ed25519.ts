import { Buffer } from 'node:buffer'
import {
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign as nodeSign,
  verify as nodeVerify,
} from 'node:crypto'
import stringify from 'canonical-json'
import nacl from 'tweetnacl'
import { canonicalJson, compareCodePoints } from '../canonical-json.ts'
import { decodeBase64, unpaddedBase64 } from './hash.ts'

/** A server's private key, ready to sign. {@link https://spec.matrix.org/v1.19/appendices/#signing-details} */
export interface SigningKey {
  /** Algorithm and name, as in `ed25519:a_1`. */
  readonly keyId: string
  /** 32 bytes in unpadded Base64. */
  readonly publicKey: string
  /** The signature, 64 bytes, in unpadded Base64. */
  sign(message: string | Uint8Array): string
}

/** Public keys kept ready for use; importing one costs as much as a verification. */
const keysMax = 4096

/**
 * The key that a seed of 32 bytes stands for.
 * @throws RangeError when the seed is of another length.
 */
export function signingKeyFromSeed(keyId: string, seed: Uint8Array): SigningKey {
  if (seed.length !== 32) throw new RangeError(`an Ed25519 seed has 32 bytes, not ${seed.length}`)
  const der = new Uint8Array([...pkcs8Header, ...seed])
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  const publicKey = unpaddedBase64(
    decodeBase64(createPublicKey(privateKey).export({ format: 'jwk' }).x ?? '') ?? new Uint8Array(),
  )
  return {
    keyId,
    publicKey,
    sign: (message) => unpaddedBase64(nodeSign(null, bytesOf(message), privateKey)),
  }
}

/**
 * Is the signature that of the message under the public key (both in Base64). False also for a malformed
 * signature or key; never throws.
 */
export function verifySignature(publicKey: string, message: string, signature: string): boolean {
  const parts = prepare(publicKey, signature)
  return parts !== undefined && nodeVerify(null, bytesOf(message), parts.key, parts.signature)
}

/** As `verifySignature`, on a thread of Node's pool. Never rejects. */
export function verifySignatureAsync(
  publicKey: string,
  message: string,
  signature: string,
): Promise<boolean> {
  const parts = prepare(publicKey, signature)
  if (!parts) return Promise.resolve(false)
  return new Promise((resolve) => {
    nodeVerify(null, bytesOf(message), parts.key, parts.signature, (error, valid) => {
      resolve(error === null && valid)
    })
  })
}

/**
 * Compares signing and canonical JSON with their second implementations; called once at start.
 * @throws Error when two implementations disagree, in which case nothing may be signed.
 */
export function selfCheck(): void {
  const sample = { b: [1, { '10': null, '9': true }], a: 'é😀\n\u007f', '': -1 }
  const text = canonicalJson(sample)
  const other = stringify(sample, (_key, value) => value, undefined, compareCodePoints)
  if (text !== other) throw new Error('self-check: canonical JSON differs from canonical-json')

  const seed = Uint8Array.from({ length: 32 }, (_, at) => at)
  const key = signingKeyFromSeed('ed25519:check', seed)
  const pair = nacl.sign.keyPair.fromSeed(seed)
  const signature = unpaddedBase64(nacl.sign.detached(bytesOf(text), pair.secretKey))
  if (key.publicKey !== unpaddedBase64(pair.publicKey) || key.sign(text) !== signature) {
    throw new Error('self-check: Ed25519 signatures differ from tweetnacl')
  }
  if (!verifySignature(key.publicKey, text, signature)) {
    throw new Error('self-check: a good signature was refused')
  }
  if (verifySignature(key.publicKey, `${text} `, signature)) {
    throw new Error('self-check: a bad signature was accepted')
  }
}

const pkcs8Header = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20]
const spkiHeader = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0]

/** Imported public keys by their Base64; the least recently used is first. */
const keys = new Map<string, KeyObject>()

function prepare(
  publicKey: string,
  signature: string,
): { key: KeyObject; signature: Uint8Array } | undefined {
  const bytes = decodeBase64(signature)
  const key = bytes?.length === 64 ? publicKeyOf(publicKey) : undefined
  return bytes && key && { key, signature: bytes }
}

function publicKeyOf(text: string): KeyObject | undefined {
  const known = keys.get(text)
  const key = known ?? importKey(text)
  if (!key) return undefined
  keys.delete(text)
  keys.set(text, key)
  if (keys.size > keysMax) keys.delete(keys.keys().next().value ?? '')
  return key
}

function importKey(text: string): KeyObject | undefined {
  const raw = decodeBase64(text)
  if (raw?.length !== 32) return undefined
  const der = new Uint8Array([...spkiHeader, ...raw])
  try {
    return createPublicKey({ key: der, format: 'der', type: 'spki' })
  } catch {
    return undefined
  }
}

function bytesOf(message: string | Uint8Array): Uint8Array {
  return typeof message === 'string' ? Buffer.from(message, 'utf8') : message
}
