import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseRoomId } from '../../spec/ids.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { systemClock } from '../platform/clock.ts'
import { silentLogger } from '../platform/log.ts'
import { systemRandom } from '../platform/random.ts'
import { createForwarding } from './forwarding.ts'
import { createRetention } from './retention.ts'
import { createStream, type Stream } from './stream.ts'
import { testEntry } from './test-log.ts'

let test: TestDatabase

beforeAll(async () => {
  test = await testDatabase()
})
afterAll(() => test[Symbol.asyncDispose]())

async function open(): Promise<Stream> {
  const settings = {
    databaseUrl: test.url,
    secret: 'test',
    peerHost: '127.0.0.1',
    peerPort: 0,
  }
  const needs = { clock: systemClock, log: silentLogger, random: systemRandom }
  const stream = await createStream({ settings, ...needs })
  await stream.start()
  return stream
}

async function see(one: Stream, other: Stream): Promise<void> {
  await expect
    .poll(() => one.processes.alone || other.processes.alone, { timeout: 5_000 })
    .toBe(false)
}

it('answers a write when the other process has seen it', async () => {
  await using a = await open()
  await using b = await open()
  await see(a, b)
  const seen: string[] = []
  b.tail.subscribe('test', (rows) => seen.push(...rows.map(({ ref }) => ref)))
  // The wait is short: on a machine that is busy with something else not every write is seen in time.
  let n = 0
  const writeIsSeen = async () => {
    await a.writer.write({ entries: [testEntry(`write ${++n}`)] })
    return seen.at(-1) === `write ${n}`
  }
  await expect.poll(writeIsSeen, { timeout: 5_000, interval: 1 }).toBe(true)
})

it('does not wait long for a process that does not answer', async () => {
  await using a = await open()
  await test.db`insert into processes (id, address, lease_until)
    values ('silent', '127.0.0.1:1', now() + interval '1 minute')`
  await expect.poll(() => a.processes.alone, { timeout: 5_000 }).toBe(false)
  const startedAt = performance.now()
  for (let n = 0; n < 5; n++) await a.writer.write({ entries: [testEntry('unseen')] })
  expect(performance.now() - startedAt).toBeLessThan(1_000)
  await test.db`delete from processes where id = 'silent'`
})

it('carries messages between processes over the database', async () => {
  await using a = await open()
  await using b = await open()
  const got: string[] = []
  b.bus.subscribe('typing', (message) => got.push(message))
  a.bus.subscribe('typing', () => got.push('own message'))
  a.bus.publish('typing', 'alice types')
  await expect.poll(() => got, { timeout: 2_000 }).toEqual(['alice types'])
})

it('asks the next owner when the first one dies unanswered', async () => {
  await using a = await open()
  const b = await open()
  await see(a, b)
  b.peers.handle('work', () => new Promise(() => {}))
  const forwarding = createForwarding({
    processes: a.processes,
    peers: a.peers,
    clock: systemClock,
  })
  const key = keyOf(a, b)
  const answer = forwarding.atOwner(key, 'work', {}, async () => ({ by: 'a' }))
  await b[Symbol.asyncDispose]()
  expect(await answer).toEqual({ by: 'a' })
})

it('passes a call to the owner of its key', async () => {
  await using a = await open()
  await using b = await open()
  await see(a, b)
  b.peers.handle('work', async ({ n }) => ({ by: 'b', n: n ?? null }))
  const forwarding = createForwarding({
    processes: a.processes,
    peers: a.peers,
    clock: systemClock,
  })
  const answer = await forwarding.atOwner(keyOf(a, b), 'work', { n: 1 }, async () => ({ by: 'a' }))
  expect(answer).toEqual({ by: 'b', n: 1 })
})

it('lets one of two processes that claim a room go on and fences the other', async () => {
  await using a = await open()
  await using b = await open()
  const room = parseRoomId('!contested:example.org')
  const claims = await Promise.all(
    [a, b].map(({ writer }) => writer.write({ claim: { room }, entries: [] })),
  )
  const fences = claims.map((verdict) => (verdict.kind === 'done' ? (verdict.fence ?? 0) : 0))
  const writes = await Promise.all(
    [a, b].map(({ writer }, n) =>
      writer.write({ fence: { room, value: fences[n] ?? 0 }, entries: [testEntry('x', room)] }),
    ),
  )
  expect(writes.map(({ kind }) => kind).toSorted()).toEqual(['done', 'fenced'])
})

it('prunes what is older than its time and keeps the newest position', async () => {
  await using a = await open()
  for (let n = 0; n < 30; n++) await a.writer.write({ entries: [testEntry(`old ${n}`)] })
  const head = a.tail.position
  await test.db`update log set at = now() - interval '8 days'`
  const isOurs = () => true
  await using retention = createRetention({
    db: test.db,
    clock: systemClock,
    log: silentLogger,
    isOurs,
  })
  expect(await retention.prune()).toBeGreaterThanOrEqual(29)
  expect(await a.tail.oldest()).toBe(head)
  await using late = await open()
  expect(late.tail.position).toBe(head)
})

/** A key that belongs to `owner` in the eyes of `asker`. */
function keyOf(asker: Stream, owner: Stream): string {
  for (let n = 0; ; n++) {
    if (asker.processes.ownerOf(`key ${n}`)?.id === owner.processes.self) return `key ${n}`
  }
}
