import { afterAll, beforeAll, expect, it } from 'vitest'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import type { LogRow } from './log.ts'
import { openTestLog, testEntry } from './test-log.ts'

let test: TestDatabase

beforeAll(async () => {
  test = await testDatabase()
})
afterAll(() => test[Symbol.asyncDispose]())

it('delivers rows of others in order, with what the loader of their kind read', async () => {
  await using here = await openTestLog(test.db)
  const seen: LogRow[] = []
  here.tail.subscribe('test', (rows) => seen.push(...rows))
  await using there = await openTestLog(test.db)
  const verdicts = await Promise.all(
    Array.from({ length: 50 }, (_, n) => there.writer.write({ entries: [testEntry(`row ${n}`)] })),
  )
  const last = verdicts.flatMap((v) => (v.kind === 'done' ? v.positions : [])).at(-1) ?? 0
  here.tail.hint(last)
  expect(await here.tail.reached(last, 2_000)).toBe(true)
  expect(seen.map(({ ref }) => ref)).toEqual(verdicts.map((_, n) => `row ${n}`))
})

it('keeps the payloads of its own rows and loads those of others', async () => {
  await using there = await openTestLog(test.db)
  await using here = await openTestLog(test.db, {
    loaders: { receipt: async (rows) => rows.map(({ ref }) => `loaded ${ref}`) },
  })
  const seen: unknown[] = []
  here.tail.subscribe('test', (rows) => seen.push(...rows.map(({ payload }) => payload)))
  await there.writer.write({ entries: [testEntry('foreign')] })
  await here.writer.write({ entries: [{ ...testEntry('mine'), payload: 'own' }] })
  await there.writer.write({ entries: [testEntry('foreign too')] })
  await here.writer.write({ entries: [{ ...testEntry('mine'), payload: 'own too' }] })
  expect(seen).toEqual(['loaded foreign', 'own', 'loaded foreign too', 'own too'])
})

it('passes gaps that an aborted commit left in front of an own batch', async () => {
  await using here = await openTestLog(test.db)
  await test.db`select setval('log_position', nextval('log_position') + 100)`
  const verdict = await here.writer.write({ entries: [testEntry('after the gap')] })
  expect(verdict.kind === 'done' && verdict.positions[0]).toBe(here.tail.position)
})

it('sees rows of others without any hint within its poll', async () => {
  await using here = await openTestLog(test.db)
  await using there = await openTestLog(test.db)
  const verdict = await there.writer.write({ entries: [testEntry('unannounced')] })
  const position = verdict.kind === 'done' ? (verdict.positions[0] ?? 0) : 0
  expect(await here.tail.reached(position, 2_500)).toBe(true)
})

it('answers false when a position is not reached in time', async () => {
  await using here = await openTestLog(test.db)
  expect(await here.tail.reached(here.tail.position + 1, 20)).toBe(false)
})

it('loses nothing, repeats nothing and keeps order while four processes write', async () => {
  const logs = await Promise.all([1, 2, 3, 4].map(() => openTestLog(test.db)))
  const seen = logs.map(({ tail }) => {
    const positions: number[] = []
    tail.subscribe('test', (rows) => positions.push(...rows.map(({ position }) => position)))
    return positions
  })
  const start = Math.max(...logs.map(({ tail }) => tail.position))
  const hint = (at: number) => {
    for (const { tail } of logs) tail.hint(at)
  }
  await Promise.all(
    logs.flatMap(({ writer }, p) =>
      Array.from({ length: 8 }, async (_, caller) => {
        for (let n = 0; n < 40; n++) {
          const verdict = await writer.write({ entries: [testEntry(`${p}.${caller}.${n}`)] })
          if (verdict.kind === 'done') hint(verdict.positions[0] ?? 0)
        }
      }),
    ),
  )
  const stored = await test.db<{ position: number }>`
    select position from log where position > ${start} order by position`
  const all = stored.map(({ position }) => position)
  expect(all).toHaveLength(4 * 8 * 40)
  await Promise.all(logs.map(({ tail }) => tail.reached(all.at(-1) ?? 0, 5_000)))
  for (const positions of seen) expect(positions.filter((at) => at > start)).toEqual(all)
  await Promise.all(logs.map((log) => log[Symbol.asyncDispose]()))
})

it('goes on when a subscriber throws', async () => {
  await using here = await openTestLog(test.db)
  const seen: string[] = []
  here.tail.subscribe('broken', () => {
    throw new Error('defect')
  })
  here.tail.subscribe('sound', (rows) => seen.push(...rows.map(({ ref }) => ref)))
  await here.writer.write({ entries: [testEntry('survives')] })
  expect(seen).toEqual(['survives'])
})

it('reads what is stored after a position', async () => {
  await using here = await openTestLog(test.db)
  const from = here.tail.position
  await here.writer.write({ entries: [testEntry('one'), testEntry('two')] })
  const rows = await here.tail.read(from, 10)
  expect(rows.map(({ ref }) => ref)).toEqual(['one', 'two'])
  expect(await here.tail.oldest()).toBeLessThanOrEqual(from + 1)
})
