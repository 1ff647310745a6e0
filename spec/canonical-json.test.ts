import { readFileSync } from 'node:fs'
import stringify from 'canonical-json'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canonicalJson, compareCodePoints, lenientCanonicalJson } from './canonical-json.ts'
import type { Json } from './json.ts'

interface Vectors {
  valid: { name: string; input: string; canonical: string }[]
  invalid: { name: string; input: string; error: string }[]
}
const path = new URL('../conformance-tests/vectors/canonical-json.json', import.meta.url)
const vectors: Vectors = JSON.parse(readFileSync(path, 'utf8'))

/** JSON as a peer may send it: any key, any character, integers in range. */
const json: fc.Arbitrary<Json> = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(null, true, false),
    fc.maxSafeInteger(),
    text(),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(
      fc.oneof(text(), fc.nat(20).map(String), fc.constant('__proto__')),
      tie('value'),
      {
        maxKeys: 5,
      },
    ),
  ),
})).value

function text(): fc.Arbitrary<string> {
  return fc.oneof(
    fc.string({ unit: 'binary', maxLength: 6 }),
    fc.string({
      unit: fc.constantFrom('a', 'b', '"', '\\', '\n', 'é', '\uffff', '😀'),
      maxLength: 4,
    }),
  )
}

/** The package's answer with the order of code points; called plainly it moves integer-like keys. */
function secondOpinion(value: Json): string | undefined {
  return stringify(value, (_key, inner) => inner, undefined, byCodePoint)
}

function byCodePoint(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8'))
}

describe('canonical JSON', () => {
  it.each(vectors.valid)('writes the vector: $name', ({ input, canonical }) => {
    expect(canonicalJson(JSON.parse(input))).toBe(canonical)
    expect(lenientCanonicalJson(JSON.parse(input))).toBe(canonical)
  })

  it.each(vectors.invalid)('refuses the vector: $name', ({ input, error }) => {
    const value: Json = JSON.parse(input)
    expect(() => canonicalJson(value)).toThrow(expect.objectContaining({ errcode: error }))
    expect(() => canonicalJson({ b: [value], a: 1 })).toThrow(
      expect.objectContaining({ errcode: error }),
    )
  })

  it('agrees with canonical-json on any value', () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(canonicalJson(value)).toBe(secondOpinion(value))
        expect(lenientCanonicalJson(value)).toBe(secondOpinion(value))
      }),
      { numRuns: 1000 },
    )
  })

  it('is the same for a value in any order and comes back as the same value', () => {
    fc.assert(
      fc.property(json, (value) => {
        const written = canonicalJson(value)
        const parsed: Json = JSON.parse(written)
        expect(parsed).toEqual(value)
        expect(canonicalJson(parsed)).toBe(written)
        expect(canonicalJson(reversed(value))).toBe(written)
      }),
      { numRuns: 500 },
    )
  })

  it('refuses what is not JSON', () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, undefined, () => 1, 1n]) {
      const wrong: unknown = { a: [value] }
      const write = canonicalJson as (value: unknown) => string
      expect(() => write(wrong)).toThrow(expect.objectContaining({ errcode: 'M_BAD_JSON' }))
    }
  })

  it('orders strings as their UTF-8 bytes are ordered', () => {
    fc.assert(
      fc.property(text(), text(), (a, b) => {
        expect(Math.sign(compareCodePoints(a, b))).toBe(byCodePoint(a, b))
      }),
      { numRuns: 2000 },
    )
  })
})

describe('lenient canonical JSON', () => {
  it('writes fractions and large integers as JavaScript does', () => {
    expect(lenientCanonicalJson({ b: 50.57, a: 2 ** 53 })).toBe('{"a":9007199254740992,"b":50.57}')
  })

  it('refuses what no JSON number can be', () => {
    expect(() => lenientCanonicalJson([Number.POSITIVE_INFINITY])).toThrow(
      expect.objectContaining({ errcode: 'M_BAD_JSON' }),
    )
  })
})

function reversed(value: Json): Json {
  if (Array.isArray(value)) return value.map(reversed)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).reverse()
  return Object.fromEntries(entries.map(([key, inner]) => [key, reversed(inner)]))
}
