import { describe, expect, it } from 'vitest'
import { parseUserId } from '../../spec/ids.ts'
import { formatPlace, parsePlace } from './place.ts'
import { matchesName, nameQuery, nameWords } from './words.ts'

const alice = parseUserId('@alice-b:example.org')

describe('a user', () => {
  it.each([
    'Ali',
    'coop ali',
    'COOPER',
    'alice-b',
    '@ali',
    '@alice-b:example.org',
    'alice-b:exam',
    'b',
  ])('is found by %s', (term) => {
    expect(matchesName(term, alice, 'Alice Cooper')).toBe(true)
  })

  it.each(['ooper', 'Alice Smith', '@cooper', 'example', '', '@', ' '])(
    'is not found by %s',
    (term) => {
      expect(matchesName(term, alice, 'Alice Cooper')).toBe(false)
    },
  )

  it('is known by whole characters, however long the name', () => {
    const words = nameWords(alice, `a${'\u{20000}'.repeat(40)}`)
    expect(words[0]).toHaveLength(63)
    // What JSON writes as an escape is half a character.
    expect(JSON.stringify(words)).not.toContain('\\u')
    expect(matchesName(`a${'\u{20000}'.repeat(40)}`, alice, `a${'\u{20000}'.repeat(40)}`)).toBe(
      true,
    )
  })

  it('is not looked for by what is longer than an id, which no index holds', () => {
    expect(nameQuery(`@${'\u4e00'.repeat(1_000)}`)).toBeUndefined()
    expect(nameQuery(`b:${'\u4e00'.repeat(1_000)}`)).not.toContain('@')
  })

  it('is looked for by words that cannot break out of the query', () => {
    expect(nameQuery("o'neil \\ x")).toBe("('o':* & 'neil':* & 'x':*)")
    expect(nameQuery("@o'n\\")).toBe("'@o''n\\\\':*")
    expect(nameQuery('!!!')).toBeUndefined()
  })
})

describe('a place in a search', () => {
  it('is read as it was written', () => {
    const place = { after: { rank: 0.1, ts: 5, nr: 7 }, count: 3 }
    expect(parsePlace(formatPlace(place))).toEqual(place)
  })

  it.each(['', 'x', 'bnVsbA', 's10'])('is refused when it is %s', (token) => {
    expect(() => parsePlace(token)).toThrow('next_batch')
  })
})
