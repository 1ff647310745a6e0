import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  formatHistoryToken,
  formatSyncToken,
  parseHistoryToken,
  parseSyncToken,
  parseToken,
} from './token.ts'

const urlSafe = /^[A-Za-z0-9._~-]+$/
const stamp = fc.stringMatching(/^[A-Za-z0-9._~-]{0,60}$/)

describe('a sync token', () => {
  it('comes back as it was, and needs no escaping in a URL', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.maxSafeNat(), stamp, (position, toDevice, ephemeral) => {
        const token = { position, toDevice, ephemeral }
        const text = formatSyncToken(token)
        expect(text).toMatch(urlSafe)
        expect(parseSyncToken(text)).toEqual(token)
        expect(parseToken(text)).toEqual({ kind: 'sync', ...token })
      }),
    )
  })

  it.each([
    '',
    's',
    's1',
    's1_2',
    's-1_2_',
    's1_2_a b',
    's99999999999999999_1_',
    's9007199254740993_1_',
    't1_2',
    's1_2_x\n',
    `s1_2_${'x'.repeat(500)}`,
  ])('is not %j', (text) => {
    expect(() => parseSyncToken(text)).toThrow(
      expect.objectContaining({ errcode: 'M_INVALID_PARAM' }),
    )
    expect(() => parseSyncToken(text)).toThrow(/^since:/)
  })

  it('takes no stamp that would need escaping', () => {
    expect(() => formatSyncToken({ position: 1, toDevice: 1, ephemeral: 'a/b' })).toThrow(
      RangeError,
    )
  })
})

describe('a history token', () => {
  it('comes back as it was, also with the negative arrival of a backfilled event', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.maxSafeInteger(), (depth, arrival) => {
        const text = formatHistoryToken({ depth, arrival })
        expect(text).toMatch(urlSafe)
        expect(parseHistoryToken(text)).toEqual({ depth, arrival })
        expect(parseToken(text)).toEqual({ kind: 'history', depth, arrival })
      }),
    )
  })

  it.each(['', 't', 't1', 't-1_2', 't1_--2', 't1_2_3', 's1_2_', 'END', 't1_1e5', 't١_1'])(
    'is not %j',
    (text) => {
      expect(() => parseHistoryToken(text)).toThrow(/^from:/)
    },
  )
})
