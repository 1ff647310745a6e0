import { afterAll, beforeAll, expect, it } from 'vitest'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { systemClock } from '../platform/clock.ts'
import { silentLogger } from '../platform/log.ts'
import { systemRandom } from '../platform/random.ts'
import { openTestLog, testEntry } from '../stream/test-log.ts'
import { createJobs, type JobHandler, type Jobs } from './jobs.ts'

let test: TestDatabase

beforeAll(async () => {
  test = await testDatabase()
})
afterAll(() => test[Symbol.asyncDispose]())

async function open(handlers: Record<string, JobHandler>) {
  const log = await openTestLog(test.db)
  const jobs = createJobs({
    db: test.db,
    writer: log.writer,
    clock: systemClock,
    log: silentLogger,
    random: systemRandom,
  })
  for (const [kind, handler] of Object.entries(handlers)) jobs.handle(kind, handler)
  jobs.start()
  const add = async (kind: string, options?: Parameters<Jobs['row']>[2]) => {
    await log.writer.write({ entries: [], tables: { jobs: [jobs.row(kind, { kind }, options)] } })
    jobs.wake()
  }
  return {
    add,
    log,
    async [Symbol.asyncDispose]() {
      await jobs[Symbol.asyncDispose]()
      await log[Symbol.asyncDispose]()
    },
  }
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  await expect.poll(holds, { timeout: 5_000, interval: 10 }).toBe(true)
}

const jobsLeft = async (kind: string) =>
  (await test.db`select 1 from jobs where kind = ${kind}`).length

it('does a job and writes its effect with its completion', async () => {
  await using here = await open({
    greet: async ({ payload }) => ({ entries: [testEntry(`did ${payload['kind']}`)] }),
  })
  await here.add('greet')
  await until(async () => (await jobsLeft('greet')) === 0)
  expect(await test.db`select 1 from log where ref = 'did greet'`).toHaveLength(1)
})

it('tries a failed job again and notes why it failed', async () => {
  let calls = 0
  await using here = await open({
    flaky: async () => {
      calls += 1
      if (calls === 1) throw new Error('not today')
      return undefined
    },
  })
  await here.add('flaky')
  await until(
    async () => (await test.db`select 1 from jobs where last_error = 'not today'`).length === 1,
  )
  await until(async () => (await jobsLeft('flaky')) === 0)
  expect(calls).toBe(2)
})

it('lets two processes share the jobs without doing one twice', async () => {
  const done: string[] = []
  const handler: JobHandler = async ({ id }) => {
    done.push(id)
    return undefined
  }
  await using here = await open({ shared: handler })
  await using _there = await open({ shared: handler })
  await Promise.all(Array.from({ length: 60 }, () => here.add('shared')))
  await until(async () => (await jobsLeft('shared')) === 0)
  expect(new Set(done).size).toBe(60)
  expect(done).toHaveLength(60)
})

it('has the effect once when a lease ran out while the job was in work', async () => {
  let release = () => {}
  let calls = 0
  const handler: JobHandler = async () => {
    calls += 1
    if (calls === 1) await new Promise<void>((resolve) => (release = resolve))
    return { entries: [testEntry('slow effect')] }
  }
  await using slow = await open({ slow: handler })
  await slow.add('slow')
  await until(async () => calls === 1)
  await test.db`update jobs set lease_until = now() where kind = 'slow'`
  await using _other = await open({ slow: handler })
  await until(async () => (await jobsLeft('slow')) === 0)
  release()
  await slow.log.writer.write({ entries: [] })
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(calls).toBe(2)
  expect(await test.db`select 1 from log where ref = 'slow effect'`).toHaveLength(1)
})

it('waits for the time of a job', async () => {
  let ranAt = 0
  const runAtMs = Date.now() + 1_200
  await using here = await open({
    later: async () => {
      ranAt = Date.now()
      return undefined
    },
  })
  await here.add('later', { runAtMs })
  await until(async () => (await jobsLeft('later')) === 0)
  expect(ranAt).toBeGreaterThanOrEqual(runAtMs - 20)
})
