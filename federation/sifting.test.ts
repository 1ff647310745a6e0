import { describe, expect, it } from 'vitest'
import type { OutgoingTransaction } from './outgoing.ts'
import { type Outcome, sendSifted } from './sifting.ts'

/** A destination that cannot digest some things; `outcome` is what it says to all else. */
function destination(bad: readonly string[], outcome: Outcome = 'taken') {
  const taken: string[] = []
  const dropped: string[] = []
  let requests = 0
  const send = async ({ pdus, edus }: OutgoingTransaction): Promise<Outcome> => {
    requests++
    if ([...pdus, ...edus].some((one) => bad.includes(one))) return 'refused'
    if (outcome === 'taken') taken.push(...pdus, ...edus)
    return outcome
  }
  return {
    taken,
    dropped,
    requests: () => requests,
    sift: (transaction: OutgoingTransaction) =>
      sendSifted(transaction, {
        send,
        dropped: ({ pdu, edu }) => dropped.push(pdu ?? edu ?? ''),
      }),
  }
}

const texts = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, n) => `${prefix}${n}`)

describe('sifting a transaction', () => {
  it('takes one request when nothing is refused', async () => {
    const there = destination([])
    expect(await there.sift({ pdus: texts('p', 50), edus: texts('e', 100) })).toBe(true)
    expect(there.requests()).toBe(1)
  })

  it('finds what is refused in few requests, and brings all else in order', async () => {
    const there = destination(['p7', 'e99'])
    const all = { pdus: texts('p', 50), edus: texts('e', 100) }
    expect(await there.sift(all)).toBe(true)
    expect(there.dropped).toEqual(['p7', 'e99'])
    const expected = [...all.pdus, ...all.edus].filter((one) => one !== 'p7' && one !== 'e99')
    expect(there.taken).toEqual(expected)
    expect(there.requests()).toBeLessThan(40)
  })

  it('drops nothing when the destination refuses even nothing', async () => {
    const refusesAll = destination(['p0', 'p1'], 'refused')
    expect(await refusesAll.sift({ pdus: ['p0', 'p1'], edus: [] })).toBe(false)
    expect(refusesAll.dropped).toEqual([])
    const away = destination([], 'failed')
    expect(await away.sift({ pdus: ['p0', 'p1'], edus: [] })).toBe(false)
    expect(away.requests()).toBe(1)
  })
})
