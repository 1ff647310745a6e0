import { describe, expect, it } from 'vitest'
import { parsePropertyPath, valueAtPath } from './property-path.ts'

describe('a property path', () => {
  it.each([
    ['content.body', ['content', 'body']],
    ['content.m\\.relates_to', ['content', 'm.relates_to']],
    ['content.m\\\\foo', ['content', 'm\\foo']],
    ['content.\\x', ['content', '\\x']],
    ['content.m\\\\.foo', ['content', 'm\\', 'foo']],
    ['type', ['type']],
    ['', ['']],
    ['a.', ['a', '']],
    ['a\\', ['a\\']],
  ])('%s is %j', (path, names) => {
    expect(parsePropertyPath(path)).toEqual(names)
  })

  it('finds own values only, and enters no arrays', () => {
    const root = { a: { b: [1, { c: 2 }], d: null }, 'a.b': 5 }
    expect(valueAtPath(root, ['a', 'd'])).toBe(null)
    expect(valueAtPath(root, ['a.b'])).toBe(5)
    expect(valueAtPath(root, ['a', 'b'])).toEqual([1, { c: 2 }])
    expect(valueAtPath(root, ['a', 'b', '1', 'c'])).toBeUndefined()
    expect(valueAtPath(root, ['a', 'constructor'])).toBeUndefined()
    expect(valueAtPath(root, ['__proto__', 'a'])).toBeUndefined()
    expect(valueAtPath(root, ['a', 'd', 'e'])).toBeUndefined()
  })
})
