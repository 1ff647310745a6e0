import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ListSplitter } from './list-splitter.ts'

function split(text: string, sizes: readonly number[] = []) {
  const bytes = Buffer.from(text)
  const splitter = new ListSplitter(['state', 'auth_chain'])
  let at = 0
  for (const size of sizes) {
    splitter.push(bytes.subarray(at, at + size))
    at += size
  }
  splitter.push(bytes.subarray(at))
  return splitter.end()
}

const elements = fc.array(
  fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue({ maxDepth: 4 })),
  { maxLength: 6 },
)

describe('the splitter of large answers', () => {
  it('cuts out what a parse of the whole would find, however the bytes come', () => {
    fc.assert(
      fc.property(
        elements,
        elements,
        fc.jsonValue(),
        fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 80 }),
        fc.constantFrom(undefined, 1),
        (state, chain, other, sizes, indent) => {
          const whole = { origin: 'a\\"b', state, other, auth_chain: chain, last: { state: [1] } }
          const { rest, lists } = split(JSON.stringify(whole, null, indent), sizes)
          expect(rest).toEqual(JSON.parse(JSON.stringify({ ...whole, state: [], auth_chain: [] })))
          const texts = (name: string) => (lists.get(name) ?? []).map((text) => JSON.parse(text))
          expect(texts('state')).toEqual(JSON.parse(JSON.stringify(state)))
          expect(texts('auth_chain')).toEqual(JSON.parse(JSON.stringify(chain)))
        },
      ),
      { numRuns: 300 },
    )
  })

  it('leaves alone what is no list, and lists deeper in the object', () => {
    const { rest, lists } = split('{"state":{"state":[1,2]},"auth_chain":"[x]"}')
    expect(rest).toEqual({ state: { state: [1, 2] }, auth_chain: '[x]' })
    expect(lists.size).toBe(0)
  })

  it('refuses what ends early, is nested too deep or is no object', () => {
    expect(() => split('{"state":[{"a":1}')).toThrow('must be whole')
    expect(() => split('[1]')).toThrow('must be an object')
    expect(() => split(`{"a":${'['.repeat(300)}`)).toThrow('nested too deep')
    expect(() => split(`{"state":["${'x'.repeat(2_000_000)}"]}`, [1_500_000])).toThrow('too large')
  })
})
