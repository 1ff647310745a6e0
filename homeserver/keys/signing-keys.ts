import { type SigningKey, signingKeyFromSeed } from '../../spec/crypto/ed25519.ts'
import { decodeBase64, unpaddedBase64 } from '../../spec/crypto/hash.ts'
import type { Random } from '../platform/random.ts'

/** Our Ed25519 key with the text that it is kept as. */
export interface StoredSigningKey {
  readonly key: SigningKey
  /** `ed25519 a_xxxx <seed>`, as in Synapse's key files. */
  readonly text: string
}

const keyForm = /^ed25519 (\w{1,64}) ([A-Za-z0-9+/]{43}=?)$/

/** A new key; its version is drawn too, so that two keys of a server hardly share a name. */
export function makeSigningKey(random: Random): StoredSigningKey {
  const seed = unpaddedBase64(random.bytes(32))
  return parseSigningKey(`ed25519 a_${random.text(4)} ${seed}`)
}

/** Reads `ed25519 version seed`; only the first line counts. Throws an Error that does not show the key. */
export function parseSigningKey(text: string): StoredSigningKey {
  const line = text.trim().split('\n')[0]?.trim() ?? ''
  const [, version, encoded = ''] = keyForm.exec(line) ?? []
  const seed = decodeBase64(encoded)
  if (version === undefined || seed?.length !== 32) {
    throw new Error('a signing key is one line "ed25519 a_xxxx <43 letters of Base64>"')
  }
  return { key: signingKeyFromSeed(`ed25519:${version}`, seed), text: line }
}

/** What may be shown and recorded of a key: its id and its public half. */
export function fingerprint({ key }: StoredSigningKey): string {
  return `${key.keyId} ${key.publicKey}`
}
