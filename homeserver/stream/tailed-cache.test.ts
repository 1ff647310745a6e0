import { expect, it } from 'vitest'
import type { LogRow } from './log.ts'
import { createTailedCache } from './tailed-cache.ts'

function setUp(groups = false) {
  let tell: (rows: readonly LogRow[]) => void = () => {}
  const waiting: ((value: { group: string; n: number }) => void)[] = []
  let loads = 0
  const cache = createTailedCache<{ group: string; n: number }>({
    tail: {
      subscribe(_name, onRows) {
        tell = onRows
        return { [Symbol.dispose]: () => {} }
      },
    },
    name: 'things',
    entriesMax: 2,
    load: () => {
      loads += 1
      return new Promise((resolve) => waiting.push(resolve))
    },
    ...(groups ? { groupOf: (value: { group: string }) => value.group } : {}),
    keep: (value) => value.n > 0,
    staleBy: (row) => (row.kind === 'receipt' ? row.ref : undefined),
  })
  const invalidate = (ref: string, kind: LogRow['kind'] = 'invalidate') =>
    tell([{ position: 1, kind, ref, payload: undefined }])
  const answer = (n: number, group = 'g') => waiting.shift()?.({ group, n })
  return { cache, invalidate, answer, loads: () => loads }
}

it('loads once for all who ask at the same time', async () => {
  const { cache, answer, loads } = setUp()
  const both = [cache.get('a'), cache.get('a')]
  answer(1)
  expect(await Promise.all(both)).toEqual([
    { group: 'g', n: 1 },
    { group: 'g', n: 1 },
  ])
  expect(await cache.get('a')).toEqual({ group: 'g', n: 1 })
  expect(loads()).toBe(1)
})

it.each([
  ['things:a', 'invalidate'],
  ['a', 'receipt'],
] as const)(
  'does not keep, nor hand to later callers, what was being loaded when %s (%s) passed',
  async (ref, kind) => {
    const { cache, invalidate, answer, loads } = setUp()
    const early = cache.get('a')
    invalidate(ref, kind)
    const late = cache.get('a')
    answer(1)
    answer(2)
    expect((await early).n).toBe(1)
    expect((await late).n).toBe(2)
    expect(cache.peek('a')?.n).toBe(2)
    expect(loads()).toBe(2)
  },
)

it('forgets a group together, also what is still being loaded', async () => {
  const { cache, invalidate, answer } = setUp(true)
  const [a, b] = [cache.get('a'), cache.get('b')]
  answer(1, 'x')
  answer(2, 'y')
  await Promise.all([a, b])
  invalidate('others:x')
  expect(cache.peek('a')?.n).toBe(1)
  const c = cache.get('c')
  invalidate('things:x')
  answer(3, 'x')
  expect((await c).n).toBe(3)
  expect([cache.peek('a'), cache.peek('b')?.n, cache.peek('c')]).toEqual([undefined, 2, undefined])
})

it('keeps no failure and nothing that is not worth a place', async () => {
  const { cache, answer, loads } = setUp()
  const nothing = cache.get('a')
  answer(0)
  expect((await nothing).n).toBe(0)
  void cache.get('a')
  expect(loads()).toBe(2)
})
