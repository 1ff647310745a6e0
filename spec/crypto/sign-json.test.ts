import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseServerName } from '../ids.ts'
import type { JsonObject } from '../json.ts'
import { rulesOf } from '../room/version.ts'
import { signingKeyFromSeed } from './ed25519.ts'
import { contentHash, fromUnpaddedBase64 } from './hash.ts'
import {
  policyKeyId,
  signaturesOf,
  signJson,
  triedSignatures,
  triedSignaturesMax,
  verifyJson,
} from './sign-json.ts'

interface Vectors {
  seed: string
  server: string
  keyId: string
  json: { name: string; input: JsonObject; signed: JsonObject }[]
  events: { name: string; input: JsonObject; sha256: string; signature: string }[]
}
const path = new URL('../../conformance-tests/vectors/signing.json', import.meta.url)
const vectors: Vectors = JSON.parse(readFileSync(path, 'utf8'))
const server = parseServerName(vectors.server)
const other = parseServerName('other.example')
const key = signingKeyFromSeed(vectors.keyId, fromUnpaddedBase64(vectors.seed))
const secondKey = signingKeyFromSeed('ed25519:2', new Uint8Array(32).fill(7))

describe('signing JSON', () => {
  it.each(vectors.json)('makes the signature of the vector: $name', ({ input, signed }) => {
    expect(signJson(input, server, key)).toEqual(signed)
    expect(verifyJson(signed, server, key.keyId, key.publicKey)).toBe(true)
  })

  it.each(vectors.events)('hashes the event of the vector: $name', ({ input, sha256 }) => {
    const rules = rulesOf('1')
    expect(rules && contentHash(input, rules)).toBe(sha256)
  })

  it('does not cover unsigned, and keeps it', () => {
    const signed = signJson({ one: 1, two: 'Two', unsigned: { age: 1 } }, server, key)
    expect(signed['signatures']).toEqual(vectors.json[1]?.signed['signatures'])
    expect(signed['unsigned']).toEqual({ age: 1 })
    expect(verifyJson({ ...signed, unsigned: {} }, server, key.keyId, key.publicKey)).toBe(true)
  })

  it('adds to the signatures that are there', () => {
    const once = signJson({ a: 1 }, other, secondKey)
    const twice = signJson(signJson(once, server, key), server, secondKey)
    expect(Object.keys(signaturesOf(twice, server))).toEqual(['ed25519:1', 'ed25519:2'])
    expect(verifyJson(twice, other, secondKey.keyId, secondKey.publicKey)).toBe(true)
    expect(verifyJson(twice, server, key.keyId, key.publicKey)).toBe(true)
  })

  it('round-trips for any object and notices any change', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.string()), fc.string(), (fields, more) => {
        const { signatures: _s, unsigned: _u, ...obj } = fields
        const signed = signJson(obj, server, key)
        expect(verifyJson(signed, server, key.keyId, key.publicKey)).toBe(true)
        const changed = { ...signed, added: more }
        expect(verifyJson(changed, server, key.keyId, key.publicKey)).toBe(obj['added'] === more)
      }),
      { numRuns: 50 },
    )
  })
})

describe('verifying JSON', () => {
  const signed = signJson({ a: 1 }, server, key)

  it('refuses another server, key id, key or algorithm', () => {
    expect(verifyJson(signed, other, key.keyId, key.publicKey)).toBe(false)
    expect(verifyJson(signed, server, 'ed25519:2', key.publicKey)).toBe(false)
    expect(verifyJson(signed, server, key.keyId, secondKey.publicKey)).toBe(false)
    const renamed = { ...signed, signatures: { [server]: { 'rsa:1': signatureOf(signed) } } }
    expect(verifyJson(renamed, server, 'rsa:1', key.publicKey)).toBe(false)
  })

  it.each([
    [undefined],
    [null],
    ['x'],
    [[]],
    [{ domain: 'x' }],
    [{ domain: { 'ed25519:1': 1 } }],
    [{ domain: { 'ed25519:1': '!' } }],
  ])('refuses signatures of the shape %j without throwing', (signatures) => {
    const obj = signatures === undefined ? { a: 1 } : { a: 1, signatures }
    expect(verifyJson(obj, server, key.keyId, key.publicKey)).toBe(false)
    expect(signJson(obj, server, key)['signatures']).toMatchObject({
      [server]: { [key.keyId]: signatureOf(signed) },
    })
  })

  it('refuses what has no canonical JSON', () => {
    expect(verifyJson({ ...signed, a: 0.5 }, server, key.keyId, key.publicKey)).toBe(false)
  })

  it('is not confused by server names that objects inherit', () => {
    expect(signaturesOf({ signatures: {} }, parseServerName('constructor'))).toEqual({})
  })
})

function signatureOf(obj: JsonObject): string {
  return signaturesOf(obj, server)[key.keyId] ?? ''
}

describe('the signatures that are tried', () => {
  const many = (count: number, algorithm = 'ed25519') =>
    Object.fromEntries(Array.from({ length: count }, (_, n) => [`${algorithm}:k${n}`, 'x']))

  it(`are ${triedSignaturesMax} of a server, and not one more`, () => {
    for (const count of [triedSignaturesMax, triedSignaturesMax + 1]) {
      const tried = triedSignatures({ signatures: { [server]: many(count) } }, server)
      expect(tried).toHaveLength(triedSignaturesMax)
    }
  })

  it('are not those of a policy server, whose key is the room’s to name', () => {
    const own = { [policyKeyId]: 'signature', 'ed25519:1': 'signature' }
    const tried = triedSignatures({ signatures: { [server]: own } }, server)
    expect(tried.map(([keyId]) => keyId)).toEqual(['ed25519:1'])
  })

  it('are those of an algorithm that is known', () => {
    const own = { ...many(50, 'rsa'), 'ed25519:1': 'signature' }
    const obj = { signatures: { [server]: own, [other]: many(3) } }
    expect(triedSignatures(obj, server)).toEqual([['ed25519:1', 'signature']])
  })
})
