import { describe, expect, it } from 'vitest'
import { type Ephemeral, presenceItem, takeEdus } from './coalescing.ts'

const receipt = (room: string, user: string, thread?: string): Ephemeral => ({
  kind: 'receipt',
  receipt: { room, user, event: `$${room}${user}`, ts: 1, ...(thread !== undefined && { thread }) },
})

/** What waits, keyed by number. */
const waitingOf = (...items: (Ephemeral | undefined)[]) =>
  new Map(items.flatMap((item, n) => (item ? [[String(n), item] as const] : [])))

const parsed = (texts: readonly string[]) => texts.map((text): unknown => JSON.parse(text))

describe('what may be lost', () => {
  it('goes in one EDU for all receipts, and one for all presence', () => {
    const waiting = waitingOf(
      receipt('!a', '@x'),
      presenceItem({ user_id: '@x', presence: 'online' }),
      receipt('!b', '@x'),
      receipt('!a', '@y'),
      presenceItem({ user_id: '@y', presence: 'offline' }),
    )
    const at = (room: string, user: string) => ({ data: { ts: 1 }, event_ids: [`$${room}${user}`] })
    expect(parsed(takeEdus(waiting, 100))).toEqual([
      {
        edu_type: 'm.presence',
        content: {
          push: [
            { user_id: '@x', presence: 'online' },
            { user_id: '@y', presence: 'offline' },
          ],
        },
      },
      {
        edu_type: 'm.receipt',
        content: {
          '!a': { 'm.read': { '@x': at('!a', '@x'), '@y': at('!a', '@y') } },
          '!b': { 'm.read': { '@x': at('!b', '@x') } },
        },
      },
    ])
    expect(waiting.size).toBe(0)
  })

  it('keeps the receipts of one user in several threads apart', () => {
    const waiting = waitingOf(receipt('!a', '@x'), receipt('!a', '@x', 'main'))
    const edus = takeEdus(waiting, 100)
    expect(edus).toHaveLength(2)
    expect(edus.filter((text) => text.includes('"thread_id":"main"'))).toHaveLength(1)
  })

  it('stays where it is when the transaction is full', () => {
    const edu = (n: number): Ephemeral => ({ kind: 'edu', text: `{"n":${n}}` })
    const waiting = waitingOf(edu(1), edu(2), edu(3), receipt('!a', '@x'))
    expect(takeEdus(waiting, 2)).toEqual(['{"n":1}', '{"n":2}'])
    expect(waiting.size).toBe(2)
    expect(takeEdus(waiting, 0)).toEqual([])
    expect(takeEdus(waiting, 100)).toHaveLength(2)
  })
})
