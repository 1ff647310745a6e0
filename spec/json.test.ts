import { describe, expect, it } from 'vitest'
import { canonicalJson } from './canonical-json.ts'
import { arrayAt, booleanAt, integerAt, isObject, objectAt, parseJson, stringAt } from './json.ts'

const limits = { depthMax: 3 }
const poison = { depthMax: 3, integralFloats: 'poison' } as const

describe('parseJson', () => {
  it('parses what is within the limits', () => {
    expect(parseJson('{"a":[{"b":"[[[[{{{\\"]]"}]}', limits)).toEqual({ a: [{ b: '[[[[{{{"]]' }] })
    expect(parseJson(' 12 ', limits)).toBe(12)
  })

  it.each([
    '',
    '{',
    '{"a":1,}',
    "{'a':1}",
    '"\\x"',
    '[1 2]',
    'NaN',
    '"unfinished',
    '\u00a01',
    '[]]',
  ])('refuses %j as no JSON', (text) => {
    expect(() => parseJson(text, limits)).toThrow(
      expect.objectContaining({ errcode: 'M_NOT_JSON' }),
    )
  })

  it('accepts the deepest nesting allowed and refuses one level more', () => {
    expect(parseJson('[[[1]]]', limits)).toEqual([[[1]]])
    expect(parseJson('[[[]],[[]],{"a":{}}]', limits)).toEqual([[[]], [[]], { a: {} }])
    for (const text of ['[[[[1]]]]', '{"a":{"b":{"c":{}}}}', '[1,[2,[3,[4']) {
      expect(() => parseJson(text, limits)).toThrow(
        expect.objectContaining({ errcode: 'M_BAD_JSON' }),
      )
    }
  })

  it('is not fooled by quotes and backslashes in strings', () => {
    const text = '["\\\\","[[[[","\\"[[[[","\\\\\\"[[[["]'
    expect(parseJson(text, limits)).toEqual(['\\', '[[[[', '"[[[[', '\\"[[[['])
  })

  it('refuses a hundred thousand levels without recursion', () => {
    expect(() => parseJson('['.repeat(100_000), { depthMax: 500 })).toThrow(/500 levels/)
  })

  it('takes linear time for strings that never end and for runs of backslashes', () => {
    for (const text of [
      `["${'\\"'.repeat(200_000)}`,
      `["${'\\'.repeat(400_000)}"]`,
      `[${'"'.repeat(400_001)}`,
    ]) {
      const start = performance.now()
      expect(() => parseJson(`[1.0,${text}`, poison)).toThrow(
        expect.objectContaining({ errcode: 'M_NOT_JSON' }),
      )
      expect(performance.now() - start).toBeLessThan(1000)
    }
  })

  it('reads 1.0 as 1 when nothing else is asked for', () => {
    expect(parseJson('[1.0, 1e2]', limits)).toEqual([1, 100])
  })

  it('poisons floats with integer values, and only them, on demand', () => {
    const text = '{"a":1.0,"b":1.5,"c":"1.0 \\" 2.0","d":1e2,"e":-0.0,"f":7,"1.0":true}'
    expect(parseJson(text, poison)).toEqual({
      a: Number.POSITIVE_INFINITY,
      b: 1.5,
      c: '1.0 " 2.0',
      d: Number.POSITIVE_INFINITY,
      e: Number.POSITIVE_INFINITY,
      f: 7,
      '1.0': true,
    })
    expect(() => canonicalJson(parseJson('{"a":1E2}', poison))).toThrow(/not an integer/)
  })

  it('keeps __proto__ as a key', () => {
    const value = parseJson('{"__proto__":{"a":1}}', limits)
    expect(Object.keys(value ?? {})).toEqual(['__proto__'])
  })
})

describe('getters', () => {
  const obj = { text: 'x', whole: 3, half: 0.5, yes: true, inner: {}, list: [], nothing: null }

  it('answer values of their type', () => {
    expect(stringAt(obj, 'text')).toBe('x')
    expect(integerAt(obj, 'whole')).toBe(3)
    expect(booleanAt(obj, 'yes')).toBe(true)
    expect(objectAt(obj, 'inner')).toBe(obj.inner)
    expect(arrayAt(obj, 'list')).toBe(obj.list)
  })

  it('answer undefined for absent keys, other types and inherited properties', () => {
    expect(stringAt(obj, 'whole')).toBeUndefined()
    expect(integerAt(obj, 'half')).toBeUndefined()
    expect(integerAt({ a: 2 ** 53 }, 'a')).toBeUndefined()
    expect(booleanAt(obj, 'text')).toBeUndefined()
    expect(objectAt(obj, 'list')).toBeUndefined()
    expect(objectAt(obj, 'nothing')).toBeUndefined()
    expect(objectAt(obj, '__proto__')).toBeUndefined()
    expect(arrayAt(obj, 'inner')).toBeUndefined()
    expect(stringAt(obj, 'absent')).toBeUndefined()
  })

  it('tells objects from arrays and null', () => {
    expect([{}, [], null, 'x', undefined].map(isObject)).toEqual([true, false, false, false, false])
  })
})
