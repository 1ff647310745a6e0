import { describe, expect, it } from 'vitest'
import { systemClock } from './clock.ts'
import { FakeClock } from './fake-clock.ts'
import { createLogger } from './log.ts'
import { createPerKeyQueue } from './per-key-queue.ts'
import { seededRandom, systemRandom } from './random.ts'

describe('a queue per key', () => {
  it('runs the tasks of one key one after the other and keys side by side', async () => {
    const queue = createPerKeyQueue({ waitingMax: 10 })
    const seen: string[] = []
    const task = (name: string, ms: number) => async () => {
      seen.push(`${name} begins`)
      await new Promise((resolve) => setTimeout(resolve, ms))
      seen.push(`${name} ends`)
    }
    const all = [
      queue.run('room', task('one', 20)),
      queue.run('room', task('two', 0)),
      queue.run('other', task('side', 0)),
    ]
    expect(queue.length('room')).toBe(2)
    await Promise.all(all)
    expect(seen.filter((line) => !line.startsWith('side'))).toEqual([
      ...['one begins', 'one ends', 'two begins', 'two ends'],
    ])
    expect(seen.indexOf('side begins')).toBeLessThan(seen.indexOf('one ends'))
    await queue.idle()
    expect(queue.size).toBe(0)
  })

  it('goes on after a failure, and refuses more than may wait', async () => {
    const queue = createPerKeyQueue({ waitingMax: 1 })
    const first = queue.run('a', async () => {
      throw new Error('no')
    })
    const second = queue.run('a', async () => 2)
    await expect(queue.run('a', async () => 3)).rejects.toThrow('more than 1')
    await expect(first).rejects.toThrow('no')
    expect(await second).toBe(2)
  })
})

describe('clocks', () => {
  it('the fake one wakes in order of time and only when it is moved', async () => {
    const clock = new FakeClock(0)
    const seen: string[] = []
    void clock.sleep(20).then(() => seen.push('sleep 20'))
    void clock.sleep(10).then(() => seen.push('sleep 10'))
    const ticker = clock.every(8, () => seen.push(`tick ${clock.now()}`))
    await clock.advance(16)
    expect(seen).toEqual(['tick 8', 'sleep 10', 'tick 16'])
    ticker[Symbol.dispose]()
    await clock.advance(100)
    expect(seen).toEqual(['tick 8', 'sleep 10', 'tick 16', 'sleep 20'])
    expect(clock.now()).toBe(116)
    expect(clock.waiting).toBe(0)
  })

  it('both give up a sleep when its signal says so', async () => {
    for (const clock of [systemClock, new FakeClock()]) {
      const stop = new AbortController()
      const sleep = clock.sleep(60_000, stop.signal)
      stop.abort(new Error('enough'))
      await expect(sleep).rejects.toThrow('enough')
    }
  })
})

describe('chance', () => {
  it('gives text of the asked length and alphabet, repeatable only with a seed', () => {
    expect(systemRandom.text(40)).toMatch(/^[A-Za-z0-9]{40}$/)
    expect(systemRandom.text(40)).not.toBe(systemRandom.text(40))
    expect(seededRandom('x').text(20, 'ab')).toBe(seededRandom('x').text(20, 'ab'))
    expect(systemRandom.bytes(16)).toHaveLength(16)
  })
})

describe('the log', () => {
  it('writes one JSON object a line and no secrets', () => {
    const lines: string[] = []
    const log = createLogger({ level: 'info', destination: { write: (line) => lines.push(line) } })
    log.child({ slice: 'x' }).info({ token: 'hush', a: { password: 'hush' }, b: 1 }, 'event')
    log.debug({}, 'not written')
    expect(lines).toHaveLength(1)
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      level: 'info',
      slice: 'x',
      b: 1,
      msg: 'event',
    })
    expect(lines[0]).not.toContain('hush')
  })
})
