import { afterAll, beforeAll, expect, it } from 'vitest'
import { type TestDatabase, testDatabase } from '../../homeserver/database/test-database.ts'
import { checkLog } from './checker.ts'

let test: TestDatabase

beforeAll(async () => {
  test = await testDatabase()
})
afterAll(() => test[Symbol.asyncDispose]())

/** The short form; the full one is `node conformance-tests/log-checker/run.mjs --writes 1000000`. */
it('keeps its word while processes are killed and paused, connections die and the bus is down', async () => {
  const result = await checkLog({
    databaseUrl: test.url,
    writes: 5_000,
    faults: {
      pauseMs: 1_000,
      workerStopMs: 6_000,
      busStopMs: 2_000,
      killBackendsEveryMs: 500,
      loseAnswerEveryMs: 500,
      rounds: 1,
    },
    client: { rooms: 16, window: 64, chunk: 8, retryMs: 2_000 },
  })
  expect(result.wrong).toEqual([])
  expect(result.writes).toBeGreaterThanOrEqual(5_000)
  expect(result.faults.backendsKilled).toBeGreaterThan(5)
  expect(result.faults.answersLost).toBeGreaterThan(5)
}, 120_000)
