import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseRoomId, parseServerName } from '../../spec/ids.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { silentLogger } from '../platform/log.ts'
import { openTestLog } from '../stream/test-log.ts'
import { createBackoff, type RetrySettings } from './backoff.ts'
import { createDestinations, type Destinations, eduEntry } from './destinations.ts'

const a = parseServerName('a.example')
const b = parseServerName('b.example')
const room = parseRoomId('!r:us.example')

let test: TestDatabase
let destinations: Destinations
const clock = new FakeClock()
const open = () => createDestinations({ db: test.db, clock, log: silentLogger })

beforeAll(async () => {
  test = await testDatabase()
  destinations = await open()
})

afterAll(async () => {
  await destinations[Symbol.asyncDispose]()
  await test[Symbol.asyncDispose]()
})

describe('backoff', () => {
  /** A month of seconds would take long: nothing here waits for the clock. */
  async function backoffAt(start: number, retry?: RetrySettings) {
    let now = start
    const timeless = {
      now: () => now,
      sleep: async () => {},
      every: () => ({ [Symbol.dispose]: () => {} }),
    }
    const backoff = await createBackoff({ db: test.db, clock: timeless, log: silentLogger, retry })
    const pauseMs = () => backoff.retryAt(a) - now
    const pass = (ms: number) => {
      now += ms
    }
    return { backoff, pauseMs, pass, awayMs: () => now - start }
  }

  it('pauses for a fifth of the time that the server was away, and not after its first answer', async () => {
    const { backoff, pauseMs, pass, awayMs } = await backoffAt(1)
    expect(backoff.retryAt(a)).toBe(0)
    backoff.failed(a)
    backoff.failed(a) // on its way together with the first: counts once
    expect(pauseMs()).toBe(1_000)
    let attempts = 0
    for (const untilMs of [300_000, 86_400_000, 30 * 86_400_000]) {
      while (awayMs() < untilMs) {
        pass(pauseMs())
        backoff.failed(a)
        attempts++
      }
      expect(pauseMs()).toBe(Math.round(awayMs() / 5))
    }
    expect(attempts).toBeLessThan(100)
    const returned: string[] = []
    backoff.onReturn((server) => returned.push(server))
    backoff.succeeded(a)
    backoff.succeeded(a)
    expect(returned).toEqual([a])
    expect(backoff.retryAt(a)).toBe(0)
  })

  it('waits as long as the server wishes, and never longer than a week', () => {
    const { backoff } = destinations
    backoff.failed(b, 30_000)
    expect(backoff.retryAt(b) - clock.now()).toBe(30_000)
    backoff.succeeded(b)
    backoff.failed(b, 9_999_999_999)
    expect(backoff.retryAt(b) - clock.now()).toBe(604_800_000)
    backoff.succeeded(b)
  })

  it('keeps to the bounds that it is given', async () => {
    const { backoff, pauseMs, pass } = await backoffAt(1, { minMs: 50, maxMs: 200 })
    backoff.failed(a)
    expect(pauseMs()).toBe(50)
    pass(3_600_000)
    backoff.failed(a)
    expect(pauseMs()).toBe(200)
  })

  it('ends in every process when one has heard from the server', async () => {
    const here = await open()
    destinations.backoff.failed(a)
    await destinations.backoff.flush()
    await here.backoff.refresh()
    expect(here.backoff.retryAt(a)).toBe(destinations.backoff.retryAt(a))
    const returned: string[] = []
    destinations.backoff.onReturn((server) => returned.push(server))
    here.backoff.succeeded(a)
    await here.backoff.flush()
    await destinations.backoff.refresh()
    expect(returned).toEqual([a])
    expect(destinations.backoff.retryAt(a)).toBe(0)
    await here[Symbol.asyncDispose]()
  })

  it('survives a restart', async () => {
    destinations.backoff.failed(b)
    const retryAt = destinations.backoff.retryAt(b)
    await destinations.backoff.flush()
    const again = await open()
    expect(again.backoff.retryAt(b)).toBe(retryAt)
    again.backoff.succeeded(b)
    await again[Symbol.asyncDispose]()
    destinations.backoff.succeeded(b)
    expect((await open()).backoff.retryAt(b)).toBe(0)
  })
})

describe('the outbox', () => {
  it('keeps EDUs in order until they are acknowledged, and collapses those with one key', async () => {
    await using log = await openTestLog(test.db)
    const edu = (n: number) => ({ edu_type: 'm.x', content: { n } })
    const write = (...entries: ReturnType<typeof eduEntry>[]) => log.writer.write({ entries })
    await write(eduEntry(a, edu(1)), eduEntry(a, edu(2), 'k'), eduEntry(b, edu(3), 'k'))
    await write(eduEntry(a, edu(4), 'k'), eduEntry(a, edu(5), 'k'), eduEntry(a, edu(6)))
    const numbers = async () =>
      (await destinations.outbox(a, 10)).map(({ content }) => JSON.parse(content).n)
    expect(await numbers()).toEqual([1, 5, 6])
    expect(await destinations.waiting()).toEqual(expect.arrayContaining([a, b]))
    const [first] = await destinations.outbox(a, 1)
    await destinations.acknowledge(first ? [first.id] : [])
    expect(await numbers()).toEqual([5, 6])
  })
})

describe('rooms in which a destination misses events', () => {
  it('are widened, moved on and removed', async () => {
    const note = (first: number, last: number) =>
      destinations.noteBehind([{ destination: a, room, first, last }])
    await note(5, 7)
    await note(3, 9)
    expect(await destinations.behind(a, 10)).toEqual([{ room, first: 3, last: 9 }])
    await destinations.caughtUp(a, [{ room, upTo: 6 }])
    expect(await destinations.behind(a, 10)).toEqual([{ room, first: 7, last: 9 }])
    await destinations.caughtUp(a, [{ room, upTo: 9 }])
    expect(await destinations.behind(a, 10)).toEqual([])
  })
})

describe('the administration', () => {
  it('lists the servers that were met, page by page, and which of them do not answer', async () => {
    const names = ['met1.example', 'met2.example', 'met3.example'].map(parseServerName)
    for (const name of names) destinations.backoff.met(name)
    const [, second] = names
    const now = clock.now()
    if (second) destinations.backoff.failed(second)
    await destinations.backoff.flush()
    const { administration } = destinations
    const query = { contains: 'met', orderBy: 'destination', isFailing: false } as const
    const page = (from: number, backwards: boolean) =>
      administration.list({ ...query, backwards, from, limit: 2 })
    const shown = async (from: number, backwards: boolean) => {
      const { servers, total } = await page(from, backwards)
      return [total, ...servers.map(({ server }) => server.slice(0, 4))]
    }
    expect(await shown(0, false)).toEqual([3, 'met1', 'met2'])
    expect(await shown(2, false)).toEqual([3, 'met3'])
    expect(await shown(0, true)).toEqual([3, 'met3', 'met2'])
    const failing = await administration.list({
      ...{ ...query, orderBy: 'failure_ts', isFailing: true },
      ...{ backwards: true, from: 0, limit: 10 },
    })
    expect(failing).toEqual({
      servers: [
        {
          server: second,
          failing: {
            since: now,
            lastTriedAt: now,
            retryAt: now + 1_000,
            pauseMs: 1_000,
          },
        },
      ],
      total: 1,
    })
  })

  it('shows what a server misses, and ends its pause', async () => {
    const { administration, backoff } = destinations
    const server = parseServerName('reset.example')
    expect(await administration.find(server)).toBeUndefined()
    backoff.failed(server)
    await destinations.noteBehind([{ destination: server, room, first: 3, last: 4 }])
    await backoff.flush()
    expect((await administration.find(server))?.failing?.pauseMs).toBe(1_000)
    const page = { backwards: false, from: 0, limit: 10 }
    expect(await administration.rooms(server, page)).toEqual({
      rooms: [{ room, last: 4 }],
      total: 1,
    })
    await administration.reset(server)
    expect(await administration.find(server)).toEqual({ server })
    expect(backoff.retryAt(server)).toBe(0)
    await destinations.caughtUp(server, [{ room, upTo: 4 }])
  })
})

describe('answers to transactions', () => {
  it('are given again on any process, and the work is not done twice at a time', async () => {
    let worked = 0
    const work = async () => `answer ${++worked}`
    const [one, two] = await Promise.all([
      destinations.inbound.once(a, 't', work),
      destinations.inbound.once(a, 't', work),
    ])
    expect([one, two, worked]).toEqual(['answer 1', 'answer 1', 1])
    await clock.advance(200)
    const other = await open()
    await expect.poll(() => other.inbound.once(a, 't', async () => 'other')).toBe('answer 1')
    expect(await other.inbound.once(b, 't', async () => 'other')).toBe('other')
    await other[Symbol.asyncDispose]()
  })

  it('of work that failed are not kept', async () => {
    const { inbound } = destinations
    const fail = () => Promise.reject(new Error('no'))
    await expect(inbound.once(a, 'f', fail)).rejects.toThrow('no')
    expect(await inbound.once(a, 'f', async () => 'yes')).toBe('yes')
  })
})

describe('cursors', () => {
  it('are kept per process until they are dropped', async () => {
    await destinations.setCursor('p1', 5)
    await destinations.setCursor('p2', 7)
    await destinations.setCursor('p1', 9)
    const positions = async () =>
      (await destinations.cursors()).map(({ process, position }) => [process, position]).toSorted()
    expect(await positions()).toEqual([
      ['p1', 9],
      ['p2', 7],
    ])
    expect((await destinations.cursors()).every(({ ageMs }) => ageMs >= 0 && ageMs < 60_000)).toBe(
      true,
    )
    await destinations.dropCursors(['p1'])
    expect(await positions()).toEqual([['p2', 7]])
  })
})
