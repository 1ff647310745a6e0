import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createServer } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from './clock.ts'
import { silentLogger } from './log.ts'
import { type Bus, createMemoryBus, createRedisBus } from './redis.ts'

const hasRedis = spawnSync('redis-server', ['--version']).status === 0
if (!hasRedis) console.warn('redis-server is not installed: the bus over Redis is NOT tested')

it('carries messages of one member to the others and not to itself', async () => {
  const bus = createMemoryBus()
  const [a, b] = [bus.connect(), bus.connect()]
  const got: string[] = []
  a.subscribe('topic', (message) => got.push(`a ${message}`))
  b.subscribe('topic', (message) => got.push(`b ${message}`))
  b.subscribe('other', (message) => got.push(`other ${message}`))
  a.publish('topic', 'hello')
  await Promise.resolve()
  expect(got).toEqual(['b hello'])
})

describe.skipIf(!hasRedis)('over Redis', () => {
  let redis: ChildProcess
  let port: number

  beforeAll(async () => {
    port = await freePort()
    redis = startRedis(port)
  })
  afterAll(() => redis.kill('SIGKILL'))

  it('carries messages, says when some may be lost, and finds a Redis that was restarted', async () => {
    await using a = await open('a', port)
    await using b = await open('b', port)
    const got: string[] = []
    let gaps = 0
    b.subscribe('topic', (message) => got.push(message))
    b.onGap(() => {
      gaps += 1
    })
    await expect.poll(() => sendUntilHeard(a, got, 'one two'), { timeout: 10_000 }).toBe(true)
    expect(gaps).toBe(1)
    redis.kill('SIGKILL')
    await new Promise((resolve) => redis.once('exit', resolve))
    a.publish('topic', 'into the void')
    redis = startRedis(port)
    await expect.poll(() => sendUntilHeard(a, got, 'after'), { timeout: 10_000 }).toBe(true)
    expect(gaps).toBe(2)
    expect(got).not.toContain('into the void')
  })
})

function sendUntilHeard(bus: Bus, got: readonly string[], message: string): boolean {
  bus.publish('topic', message)
  return got.includes(message)
}

function open(self: string, port: number): Promise<Bus> {
  const url = `redis://127.0.0.1:${port}`
  return createRedisBus({ url, channel: 'test', self, clock: systemClock, log: silentLogger })
}

function startRedis(port: number): ChildProcess {
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '']
  return spawn('redis-server', args, { stdio: 'ignore' })
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}
