import { describe, expect, it } from 'vitest'
import { FakeClock } from '../homeserver/platform/fake-clock.ts'
import { createPlaces, waitingPerKeyMax } from './places.ts'

const limits = { perKeyMax: 2, totalMax: 3, waitMs: 3_000 }
const busy = { errcode: 'M_LIMIT_EXCEEDED', status: 429, fields: { retry_after_ms: 1_000 } }

/** Places with works that end when the test says so. */
function hall() {
  const clock = new FakeClock()
  const places = createPlaces(limits, clock)
  const begun: string[] = []
  const ends = new Map<string, () => void>()
  return {
    clock,
    begun,
    begin: (name: string) =>
      places.run(name.charAt(0), () => {
        begun.push(name)
        return new Promise<string>((resolve) => ends.set(name, () => resolve(name)))
      }),
    async end(name: string) {
      ends.get(name)?.()
      await clock.advance(0)
    },
  }
}

describe('places', () => {
  it('let so many of one key in, and the next when one has left', async () => {
    const { begin, begun, end, clock } = hall()
    const works = ['a1', 'a2', 'a3'].map(begin)
    await clock.advance(2_999)
    expect(begun).toEqual(['a1', 'a2'])
    await end('a1')
    expect(begun).toEqual(['a1', 'a2', 'a3'])
    await end('a2')
    await end('a3')
    expect(await Promise.all(works)).toEqual(['a1', 'a2', 'a3'])
  })

  it('let so many in altogether', async () => {
    const { begin, begun, end, clock } = hall()
    void Promise.all(['a1', 'a2', 'b1', 'c1'].map(begin)) // ended below
    await clock.advance(0)
    expect(begun).toEqual(['a1', 'a2', 'b1'])
    await end('b1')
    expect(begun).toEqual(['a1', 'a2', 'b1', 'c1'])
    for (const name of ['a1', 'a2', 'c1']) await end(name)
  })

  it('send away who has waited too long, and take nothing from the others for it', async () => {
    const { begin, begun, end, clock } = hall()
    void begin('a1') // ended below
    void begin('a2') // ended below
    const late = begin('a3').catch((error: unknown) => error)
    await clock.advance(3_000)
    expect(await late).toMatchObject(busy)
    await end('a1')
    void begin('a4') // ended below
    await clock.advance(0)
    expect(begun).toEqual(['a1', 'a2', 'a4'])
    for (const name of ['a2', 'a4']) await end(name)
  })

  it(`let ${waitingPerKeyMax} of one key wait, and not one more`, async () => {
    const { begin, clock } = hall()
    const begins = Array.from({ length: 2 + waitingPerKeyMax }, (_, i) => begin(`a${i}`))
    const others = Promise.allSettled(begins)
    await clock.advance(0)
    await expect(begin('a-more')).rejects.toMatchObject(busy)
    await clock.advance(3_000)
    void others // those in their places never end
  })

  it('take turns between keys that wait', async () => {
    const { begin, begun, end, clock } = hall()
    const names = ['a1', 'a2', 'b1', 'a3', 'a4', 'c1']
    void Promise.all(names.map(begin)) // ended below
    await clock.advance(0)
    await end('a1')
    await end('a2')
    expect(begun).toEqual(['a1', 'a2', 'b1', 'a3', 'c1'])
    for (const name of ['b1', 'a3', 'c1', 'a4']) await end(name)
    expect(begun).toEqual(['a1', 'a2', 'b1', 'a3', 'c1', 'a4'])
  })

  it('are free again after work that fails', async () => {
    const places = createPlaces({ ...limits, perKeyMax: 1 }, new FakeClock())
    const fail = () => Promise.reject(new Error('no'))
    await expect(places.run('a', fail)).rejects.toThrow('no')
    expect(await places.run('a', async () => 'yes')).toBe('yes')
  })
})
