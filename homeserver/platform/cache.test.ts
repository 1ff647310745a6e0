import { describe, expect, it } from 'vitest'
import { createCache } from './cache.ts'

interface Word {
  text: string
}

/** A loader whose answers the test gives by hand. */
function manualLoader() {
  const calls: { keys: readonly string[]; answer: (words: Record<string, string>) => void }[] = []
  const load = (keys: readonly string[]) =>
    new Promise<Map<string, Word>>((resolve) => {
      calls.push({
        keys,
        answer: (words) =>
          resolve(new Map(Object.entries(words).map(([key, text]) => [key, { text }]))),
      })
    })
  return { calls, load }
}

const tick = () => new Promise((resolve) => setImmediate(resolve))

describe('a cache', () => {
  it('reads keys of the same moment together, once each, and then from memory', async () => {
    const { calls, load } = manualLoader()
    const cache = createCache({ bound: { entriesMax: 10 }, load })
    const answers = Promise.all([cache.get('a'), cache.get('b'), cache.get('a')])
    await tick()
    expect(calls.map(({ keys }) => keys)).toEqual([['a', 'b']])
    calls[0]?.answer({ a: 'A' })
    expect(await answers).toEqual([{ text: 'A' }, undefined, { text: 'A' }])
    expect(await cache.get('a')).toEqual({ text: 'A' })
    expect(cache.counts()).toMatchObject({ hits: 1, misses: 3, entries: 1 })
    expect(calls).toHaveLength(1)
  })

  it('does not keep what was being loaded when its key was invalidated', async () => {
    const { calls, load } = manualLoader()
    const cache = createCache({ bound: { entriesMax: 10 }, load })
    const early = cache.get('a')
    await tick()
    cache.invalidate('a')
    const late = cache.get('a')
    await tick()
    calls[0]?.answer({ a: 'old' })
    expect(await early).toEqual({ text: 'old' })
    expect(cache.peek('a')).toBeUndefined()
    calls[1]?.answer({ a: 'new' })
    expect(await late).toEqual({ text: 'new' })
    expect(cache.peek('a')).toEqual({ text: 'new' })
  })

  it('prefers a value that was set while an older one was being loaded', async () => {
    const { calls, load } = manualLoader()
    const cache = createCache({ bound: { entriesMax: 10 }, load })
    const early = cache.get('a')
    await tick()
    cache.set('a', { text: 'set' })
    calls[0]?.answer({ a: 'old' })
    await early
    expect(cache.peek('a')).toEqual({ text: 'set' })
  })

  it('answers those who wait when a key is invalidated before its batch is sent', async () => {
    const { calls, load } = manualLoader()
    const cache = createCache({ bound: { entriesMax: 10 }, load })
    const waiting = cache.get('a')
    cache.invalidate('a')
    await tick()
    for (const call of calls) call.answer({ a: 'A' })
    expect(await waiting).toEqual({ text: 'A' })
  })

  it('stays within its bound in bytes', async () => {
    const load = async (keys: readonly string[]) =>
      new Map(keys.map((key) => [key, { text: 'x'.repeat(1_000) }]))
    const bytesMax = 20_000
    const cache = createCache({ bound: { bytesMax, sizeOf: ({ text }) => text.length }, load })
    await cache.getMany(Array.from({ length: 100 }, (_, index) => `k${index}`))
    expect(cache.counts().entries).toBeLessThanOrEqual(bytesMax / 1_000)
    expect(cache.counts().entries).toBeGreaterThan(10)
  })

  it('splits large batches, and fails those of a failing batch only', async () => {
    const sizes: number[] = []
    const cache = createCache({
      bound: { entriesMax: 10 },
      batchMax: 2,
      load: async (keys: readonly string[]) => {
        sizes.push(keys.length)
        if (keys.includes('bad')) throw new Error('no')
        return new Map(keys.map((key) => [key, { text: key }]))
      },
    })
    const results = await Promise.allSettled(['a', 'b', 'bad'].map((key) => cache.get(key)))
    expect(sizes).toEqual([2, 1])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected'])
    await expect(cache.get('bad')).rejects.toThrow('no')
  })
})
