import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseRoomId, parseServerName } from '../../spec/ids.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { silentLogger } from '../platform/log.ts'
import { openTestLog } from '../stream/test-log.ts'
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
  it('doubles the pause with each failure and ends it with the first answer', async () => {
    const { backoff } = destinations
    expect(backoff.retryAt(a)).toBe(0)
    const pauses: number[] = []
    for (let n = 0; n < 4; n++) {
      backoff.failed(a)
      backoff.failed(a) // on its way together with the first: counts once
      pauses.push(backoff.retryAt(a) - clock.now())
      await clock.advance(pauses.at(-1) ?? 0)
    }
    expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000])
    const returned: string[] = []
    backoff.onReturn((server) => returned.push(server))
    backoff.succeeded(a)
    backoff.succeeded(a)
    expect(returned).toEqual([a])
    expect(backoff.retryAt(a)).toBe(0)
  })

  it('waits as long as the server wishes, and never longer than an hour', () => {
    const { backoff } = destinations
    backoff.failed(b, 30_000)
    expect(backoff.retryAt(b) - clock.now()).toBe(30_000)
    backoff.succeeded(b)
    backoff.failed(b, 999_999_999)
    expect(backoff.retryAt(b) - clock.now()).toBe(3_600_000)
    backoff.succeeded(b)
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
    await destinations.caughtUp(a, room, 6)
    expect(await destinations.behind(a, 10)).toEqual([{ room, first: 7, last: 9 }])
    await destinations.caughtUp(a, room, 9)
    expect(await destinations.behind(a, 10)).toEqual([])
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
