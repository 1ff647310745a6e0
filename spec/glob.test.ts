import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compileGlob, matchesGlob } from './glob.ts'

describe('globs', () => {
  it.each([
    ['', '', true],
    ['', 'a', false],
    ['*', '', true],
    ['*', 'anything', true],
    ['a*', 'abc', true],
    ['a*', 'ba', false],
    ['*c', 'abc', true],
    ['a*c', 'ac', true],
    ['a*a', 'a', false],
    ['ab*ba', 'aba', false],
    ['a?c', 'abc', true],
    ['a?c', 'ac', false],
    ['?', '', false],
    ['?', '😀', true],
    ['??', '😀', false],
    ['*?', '😀', true],
    ['*?😀', '😀😀', true],
    ['a*?b*c?', 'axxbyyycz', true],
    ['*.example.org', 'matrix.example.org', true],
    ['*.example.org', 'example.org', false],
    ['*evil*', 'x.evil.org', true],
    ['a.c', 'abc', false],
    ['[a]', 'a', false],
    ['\\*', '\\anything', true],
    ['A', 'a', false],
  ])('%j on %j is %j', (glob, text, expected) => {
    expect(matchesGlob(glob, text)).toBe(expected)
  })

  it('can ignore case', () => {
    expect(matchesGlob('*.EXAMPLE.org', 'Matrix.example.ORG', { ignoreCase: true })).toBe(true)
    expect(compileGlob('É?', { ignoreCase: true })('éX')).toBe(true)
  })

  it('match as a regular expression of the same meaning does', () => {
    const glob = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?', '😀'), maxLength: 8 })
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '😀', '\n'), maxLength: 10 })
    fc.assert(
      fc.property(glob, text, (pattern, subject) => {
        const source = pattern.replaceAll('*', '[^]*').replaceAll('?', '[^]')
        expect(matchesGlob(pattern, subject)).toBe(new RegExp(`^${source}$`, 'u').test(subject))
      }),
      { numRuns: 5000 },
    )
  })

  it('cannot be made to take long', () => {
    const text = 'a'.repeat(20_000)
    const start = performance.now()
    expect(matchesGlob(`${'a*'.repeat(500)}b`, text)).toBe(false)
    expect(matchesGlob(`${'*?a'.repeat(300)}*b*`, text)).toBe(false)
    expect(performance.now() - start).toBeLessThan(1000)
  })
})
