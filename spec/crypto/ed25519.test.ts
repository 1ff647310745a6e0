import fc from 'fast-check'
import nacl from 'tweetnacl'
import { describe, expect, it } from 'vitest'
import { selfCheck, signingKeyFromSeed, verifySignature, verifySignatureAsync } from './ed25519.ts'
import { unpaddedBase64 } from './hash.ts'

const seed = Uint8Array.from({ length: 32 }, (_, at) => at * 3)
const key = signingKeyFromSeed('ed25519:a', seed)
const signature = key.sign('message')

describe('Ed25519', () => {
  it('signs and verifies as tweetnacl does', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.string(), (bytes, text) => {
        const ours = signingKeyFromSeed('ed25519:a', bytes)
        const pair = nacl.sign.keyPair.fromSeed(bytes)
        expect(ours.publicKey).toBe(unpaddedBase64(pair.publicKey))
        const message = new TextEncoder().encode(text)
        const theirs = unpaddedBase64(nacl.sign.detached(message, pair.secretKey))
        expect(ours.sign(text)).toBe(theirs)
        expect(ours.sign(message)).toBe(theirs)
        expect(verifySignature(ours.publicKey, text, theirs)).toBe(true)
      }),
      { numRuns: 5 },
    )
  })

  it('refuses a seed of another length', () => {
    expect(() => signingKeyFromSeed('ed25519:a', new Uint8Array(31))).toThrow(RangeError)
  })

  it.each([
    ['another message', key.publicKey, 'massage', signature],
    ['another key', unpaddedBase64(new Uint8Array(32)), 'message', signature],
    ['a short key', 'AAAA', 'message', signature],
    ['an empty key', '', 'message', signature],
    ['a key that is no Base64', '*'.repeat(43), 'message', signature],
    ['a short signature', key.publicKey, 'message', signature.slice(4)],
    ['a signature that is no Base64', key.publicKey, 'message', '*'.repeat(86)],
    ['an empty signature', key.publicKey, 'message', ''],
  ])('refuses %s, also on the pool', async (_what, publicKey, message, sig) => {
    expect(verifySignature(publicKey, message, sig)).toBe(false)
    expect(await verifySignatureAsync(publicKey, message, sig)).toBe(false)
  })

  it('verifies on the pool, with padding and in the other alphabet', async () => {
    const padded = `${signature}==`
    const urlSafe = signature.replaceAll('+', '-').replaceAll('/', '_')
    expect(await verifySignatureAsync(key.publicKey, 'message', signature)).toBe(true)
    expect(verifySignature(`${key.publicKey}=`, 'message', padded)).toBe(true)
    expect(verifySignature(key.publicKey, 'message', urlSafe)).toBe(true)
  })

  it('keeps working past the number of keys it remembers', () => {
    for (let n = 0; n < 5000; n++) {
      const bytes = new Uint8Array(32)
      new DataView(bytes.buffer).setUint32(0, n)
      verifySignature(unpaddedBase64(bytes), 'message', signature)
    }
    expect(verifySignature(key.publicKey, 'message', signature)).toBe(true)
  })

  it('passes its self-check', () => {
    expect(selfCheck).not.toThrow()
  })
})
