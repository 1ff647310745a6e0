import { afterAll, beforeAll, expect, it } from 'vitest'
import { MatrixError } from '../../spec/errors.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { systemClock } from '../platform/clock.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { silentLogger } from '../platform/log.ts'
import { createPeers, PeerError } from './peers.ts'
import { createProcesses } from './processes.ts'
import { ownerAmong } from './rendezvous.ts'

const log = silentLogger
let test: TestDatabase

beforeAll(async () => {
  test = await testDatabase()
})
afterAll(() => test[Symbol.asyncDispose]())

function open(self: string, caughtUp = async () => {}) {
  const clock = new FakeClock()
  const address = `${self}:1`
  const processes = createProcesses({ db: test.db, clock, log, self, address, caughtUp })
  return { processes, clock }
}

it('shares the keys among live processes and agrees on every owner', async () => {
  const a = open('a')
  const b = open('b')
  await a.processes.start()
  await hold('a')
  expect(a.processes.alone).toBe(true)
  expect(a.processes.ownerOf('x')).toBeUndefined()
  await b.processes.start()
  await hold('b')
  const renewed = changed(a.processes)
  await a.clock.advance(1_000)
  await renewed
  expect(a.processes.alone).toBe(false)
  const keys = Array.from({ length: 400 }, (_, n) => `!room${n}:example.org`)
  const byA = keys.filter((key) => a.processes.ownerOf(key) === undefined)
  const byB = keys.filter((key) => b.processes.ownerOf(key) === undefined)
  expect(new Set([...byA, ...byB]).size).toBe(400)
  expect(byA.length + byB.length).toBe(400)
  expect(byA.length).toBeGreaterThan(120)
  expect(byB.length).toBeGreaterThan(120)

  const left = changed(b.processes)
  await a.processes[Symbol.asyncDispose]()
  await b.clock.advance(1_000)
  await left
  expect(b.processes.alone).toBe(true)
  await b.processes[Symbol.asyncDispose]()
})

it('moves only the keys of a process that went', () => {
  const three = ['a', 'b', 'c'].map((id) => ({ id }))
  const two = three.slice(0, 2)
  for (let n = 0; n < 300; n++) {
    const before = ownerAmong(three, `key${n}`)
    if (before?.id !== 'c') expect(ownerAmong(two, `key${n}`)?.id).toBe(before?.id)
  }
})

it('forgets a process whose lease ran out', async () => {
  await test.db`insert into processes (id, address, lease_until) values ('dead', 'dead:1', now() - interval '1 ms')`
  const { processes } = open('c')
  await processes.start()
  expect(processes.alone).toBe(true)
  await processes[Symbol.asyncDispose]()
})

it('owns nothing after a pause until it has caught up with the log', async () => {
  let catchUp = () => {}
  const paused = open('d', () => new Promise((resolve) => (catchUp = resolve)))
  const other = open('e')
  await other.processes.start()
  await hold('e')
  await paused.processes.start()
  // The lease of `d` is over for the others.
  await test.db`update processes set lease_until = now() where id = 'd'`
  const away = changed(paused.processes)
  await jump(paused.clock, 10_000)
  await away
  const keys = Array.from({ length: 50 }, (_, n) => `key ${n}`)
  expect(keys.every((key) => paused.processes.ownerOf(key)?.id === 'e')).toBe(true)

  const back = changed(paused.processes)
  catchUp()
  await back
  expect(keys.some((key) => paused.processes.ownerOf(key) === undefined)).toBe(true)
  await paused.processes[Symbol.asyncDispose]()
  await other.processes[Symbol.asyncDispose]()
})

it('carries calls, visible errors and failures between processes', async () => {
  await using a = await createPeers(needs('secret'))
  await using b = await createPeers(needs('secret'))
  b.handle('double', async ({ n }) => ({ n: Number(n) * 2 }))
  b.handle('refuse', async () => {
    throw new MatrixError('M_FORBIDDEN', 'not you', { fields: { why: 'test' } })
  })
  b.handle('break', async () => {
    throw new TypeError('defect')
  })
  b.handle('hang', () => new Promise(() => {}))
  expect(await a.call(b.address, 'double', { n: 21 })).toEqual({ n: 42 })
  await expect(a.call(b.address, 'refuse', {})).rejects.toMatchObject({
    errcode: 'M_FORBIDDEN',
    status: 403,
    message: 'not you',
    fields: { why: 'test' },
  })
  await expect(a.call(b.address, 'break', {})).rejects.toMatchObject({ kind: 'failed' })
  await expect(a.call(b.address, 'unknown', {})).rejects.toMatchObject({ kind: 'failed' })
  await expect(a.call(b.address, 'hang', {}, { timeoutMs: 50 })).rejects.toMatchObject({
    kind: 'unanswered',
  })
})

it('answers nobody who does not know the secret', async () => {
  await using stranger = await createPeers(needs('guess'))
  await using b = await createPeers(needs('secret'))
  let called = false
  b.handle('work', async () => {
    called = true
    return {}
  })
  await expect(stranger.call(b.address, 'work', {})).rejects.toThrow(PeerError)
  expect(called).toBe(false)
})

/** Leases run by the database's clock, which no test can hold: this one outlasts any test. */
async function hold(id: string): Promise<void> {
  await test.db`update processes set lease_until = now() + interval '1 minute' where id = ${id}`
}

function needs(secret: string) {
  return { clock: systemClock, log, secret, host: '127.0.0.1', port: 0 }
}

function changed(processes: { onChange(listener: () => void): Disposable }): Promise<void> {
  return new Promise((resolve) => {
    const subscription = processes.onChange(() => {
      subscription[Symbol.dispose]()
      resolve()
    })
  })
}

/** Moves the time that a clock shows without running what falls due on the way, then runs what is due. */
async function jump(clock: FakeClock, ms: number): Promise<void> {
  const now = clock.now()
  const shown = clock.now.bind(clock)
  clock.now = () => Math.max(shown(), now + ms)
  await clock.advance(1_000)
}
