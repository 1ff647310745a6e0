import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromUnpaddedBase64, sha256, unpaddedBase64, urlSafeBase64 } from './hash.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

describe('Base64', () => {
  it.each([
    ['', ''],
    ['f', 'Zg'],
    ['fo', 'Zm8'],
    ['foo', 'Zm9v'],
    ['foob', 'Zm9vYg'],
    ['fooba', 'Zm9vYmE'],
    ['foobar', 'Zm9vYmFy'],
  ])('writes %j as %j', (text, encoded) => {
    expect(unpaddedBase64(bytes(text))).toBe(encoded)
    expect(fromUnpaddedBase64(encoded)).toEqual(bytes(text))
  })

  it('round-trips in both alphabets, with and without padding', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (data) => {
        const plain = Buffer.from(data)
        const standard = plain.toString('base64')
        expect(unpaddedBase64(data)).toBe(standard.replaceAll('=', ''))
        expect(urlSafeBase64(data)).toBe(plain.toString('base64url'))
        for (const text of [standard, unpaddedBase64(data), urlSafeBase64(data)]) {
          expect(Buffer.from(fromUnpaddedBase64(text))).toEqual(plain)
        }
      }),
    )
  })

  it.each(['A', 'AAAAA', 'A===', 'AA A', 'AAA\n', 'é', 'AA=A', '😀'])('refuses %j', (text) => {
    expect(() => fromUnpaddedBase64(text)).toThrow(
      expect.objectContaining({ errcode: 'M_BAD_JSON' }),
    )
  })
})

describe('sha256', () => {
  it('hashes the UTF-8 of a text', () => {
    expect(Buffer.from(sha256('abc')).toString('hex')).toBe(
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    )
    expect(unpaddedBase64(sha256('é😀'))).toBe('EYTR9ggVjuoJ0pdWVXWJIjFVDEA6qpEwCNhnqXz9XHY')
  })
})
