import { describe, expect, it } from 'vitest'
import { formatThreadToken, parseThreadToken } from './thread-token.ts'
import { formatSyncToken } from './token.ts'

describe('a token of thread subscriptions', () => {
  it('is read as it was written', () => {
    expect(parseThreadToken(formatThreadToken(42), 'from')).toBe(42)
  })

  it('may be one of a sync', () => {
    const text = formatSyncToken({ position: 7, toDevice: 0, ephemeral: 'a.1' })
    expect(parseThreadToken(text, 'to')).toBe(7)
  })

  it.each(['', 'h', 'h-1', 'h1.5', 'x1', 's', `h${'9'.repeat(16)}`])('is not %j', (text) => {
    expect(() => parseThreadToken(text, 'from')).toThrow('from')
  })
})
