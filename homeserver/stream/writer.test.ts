import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseRoomId, type RoomId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import { DatabaseError } from '../database/database-error.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import type { LogRow, LogWrite, Verdict } from './log.ts'
import { openTestLog, testEntry } from './test-log.ts'

let test: TestDatabase
let rooms = 0

beforeAll(async () => {
  test = await testDatabase()
  await test.db`create table applied (position bigint, name text not null, w int)`
  await test.db`create function log_apply_test(rows jsonb, base bigint) returns void language sql as $$
    insert into applied select base + r.i, r.name, r.w from jsonb_to_recordset(rows) as r(i int, name text, w int) $$`
})
afterAll(() => test[Symbol.asyncDispose]())

const newRoom = () => parseRoomId(`!room${++rooms}:example.org`)

async function claim(write: (one: LogWrite) => Promise<Verdict>, room: RoomId): Promise<number> {
  const verdict = await write({ claim: { room }, entries: [] })
  if (verdict.kind !== 'done' || verdict.fence === undefined) throw new Error('no fence')
  return verdict.fence
}

it('gives every entry its own position and the rows of other tables the same one', async () => {
  await using log = await openTestLog(test.db)
  const names = ['a', 'b', 'c']
  const verdicts = await Promise.all(
    names.map((name) =>
      log.writer.write({
        entries: [
          { ...testEntry(name), tables: { test: [{ name }] } },
          { ...testEntry(`${name}2`), tables: { test: [{ name: `${name}2` }] } },
        ],
        tables: { test: [{ name: `${name}-bare` }] },
      }),
    ),
  )
  const positions = verdicts.flatMap((verdict) =>
    verdict.kind === 'done' ? verdict.positions : [],
  )
  expect(new Set(positions).size).toBe(6)
  expect(positions).toEqual(positions.toSorted((a, b) => a - b))
  const rows = await test.db<{ position: number | null; name: string }>`
    select a.position, a.name from applied a join log l using (position) where l.ref = a.name order by a.position`
  expect(rows.map((row) => row.position)).toEqual(positions)
  const bare = await test.db`select name from applied where position is null`
  expect(bare).toHaveLength(3)
})

it('hands a write to the subscribers before its caller', async () => {
  await using log = await openTestLog(test.db)
  const seen: LogRow[] = []
  log.tail.subscribe('test', (rows) => seen.push(...rows))
  const payload = { any: 'thing' }
  const verdict = await log.writer.write({ entries: [{ ...testEntry('x'), payload }] })
  expect(seen).toHaveLength(1)
  expect(seen[0]?.payload).toBe(payload)
  expect(verdict).toEqual({ kind: 'done', positions: [seen[0]?.position] })
})

it('answers the second writer of a key with what the first one answered', async () => {
  await using log = await openTestLog(test.db)
  const write = (answer: string) =>
    log.writer.write({ once: { scope: 's', key: 'k', answer }, entries: [testEntry(answer)] })
  const together = await Promise.all([write('first'), write('second')])
  expect(together.map(({ kind }) => kind)).toEqual(['done', 'duplicate'])
  expect(await write('third')).toEqual({ kind: 'duplicate', answer: 'first' })
  const rows = await test.db`select 1 from log where ref in ('second', 'third')`
  expect(rows).toHaveLength(0)
})

it('fences the writes of a process that lost the room and chains what follows', async () => {
  await using old = await openTestLog(test.db)
  await using taker = await openTestLog(test.db)
  const [lost, kept] = [newRoom(), newRoom()]
  const [value, keptValue] = await Promise.all([
    claim(old.writer.write, lost),
    claim(old.writer.write, kept),
  ])
  expect(await claim(taker.writer.write, lost)).toBe(value + 1)
  const verdicts = await Promise.all([
    old.writer.write({ fence: { room: lost, value }, entries: [testEntry('1', lost)] }),
    old.writer.write({ fence: { room: kept, value: keptValue }, entries: [testEntry('2', kept)] }),
    old.writer.write({ fence: { room: lost, value }, entries: [testEntry('3', lost)] }),
  ])
  expect(verdicts.map(({ kind }) => kind)).toEqual(['fenced', 'done', 'chained'])
})

it('chains what is queued behind a duplicate of the same room', async () => {
  await using log = await openTestLog(test.db)
  const room = newRoom()
  const value = await claim(log.writer.write, room)
  const once = { scope: 'r', key: 'r', answer: 'r' }
  const write = (more: Partial<LogWrite>) =>
    log.writer.write({ fence: { room, value }, entries: [testEntry('r', room)], ...more })
  expect((await write({ once })).kind).toBe('done')
  const first = write({ once })
  // The next one is queued while the first is in flight, and no longer after its verdict.
  await tick()
  const second = write({})
  expect((await first).kind).toBe('duplicate')
  expect((await second).kind).toBe('chained')
  expect((await write({})).kind).toBe('done')
})

it('refuses a poisoned write alone and chains its room', async () => {
  await using log = await openTestLog(test.db)
  const room = newRoom()
  const value = await claim(log.writer.write, room)
  const writes = Array.from({ length: 41 }, (_, index): LogWrite => {
    // `name` is not null in the table.
    const row = index === 17 ? {} : { name: `poison-${index}` }
    const entries = [{ ...testEntry(`poison-${index}`, room), tables: { test: [row] } }]
    return index % 2 === 1 ? { fence: { room, value }, entries } : { entries }
  })
  const verdicts = await Promise.all(writes.map(log.writer.write))
  const kinds = verdicts.map(({ kind }) => kind)
  expect(kinds[17]).toBe('refused')
  expect(kinds.filter((kind) => kind === 'chained')).toHaveLength(11)
  expect(kinds.filter((kind) => kind === 'done')).toHaveLength(29)
  const rows = await test.db`select 1 from log where ref like 'poison-%'`
  expect(rows).toHaveLength(29)
})

it('refuses what is no JSON and what names no table without sending it', async () => {
  await using log = await openTestLog(test.db)
  const bad = { ...testEntry('bad'), tables: { 'test; drop': [{}] } }
  expect((await log.writer.write({ entries: [bad] })).kind).toBe('refused')
})

it('counts a batch once when the connection is lost after its commit', async () => {
  let lost = 0
  const db = losingAnswers(test.db, () => lost++ % 2 === 0)
  await using log = await openTestLog(db)
  const seen: string[] = []
  log.tail.subscribe('test', (rows) => seen.push(...rows.map(({ ref }) => ref)))
  for (const name of ['lost-1', 'lost-2', 'lost-3']) {
    const verdict = await log.writer.write({ entries: [testEntry(name)] })
    expect(verdict.kind).toBe('done')
  }
  expect(seen).toEqual(['lost-1', 'lost-2', 'lost-3'])
  const rows = await test.db`select ref from log where ref like 'lost-%' order by position`
  expect(rows).toHaveLength(3)
  expect(lost).toBe(6)
})

it('takes the lock from a client that is paused inside its commit', async () => {
  await using log = await openTestLog(test.db)
  let paused: Promise<unknown> = Promise.resolve()
  await new Promise<void>((locked) => {
    paused = test.db
      .transaction(async (tx) => {
        await tx`select log_commit('paused', 'p', '[]', '{"log":[{"i":0,"w":0,"k":1,"f":"paused"}]}', false)`
        locked()
        await new Promise((resolve) => setTimeout(resolve, 3_000))
        await tx`select 1`
      })
      .catch((error: unknown) => error)
  })
  const startedAt = performance.now()
  const verdict = await log.writer.write({ entries: [testEntry('after the paused one')] })
  expect(verdict.kind).toBe('done')
  expect(performance.now() - startedAt).toBeLessThan(2_900)
  expect(await paused).toBeInstanceOf(DatabaseError)
  const rows = await test.db`select 1 from log where ref = 'paused'`
  expect(rows).toHaveLength(0)
})

it('refuses what waits behind an unknown outcome, in rooms only after it is known', async () => {
  const clock = new FakeClock()
  let broken = false
  const db = losingAnswers(test.db, () => broken)
  await using log = await openTestLog(db, { clock })
  const room = newRoom()
  const value = await claim(log.writer.write, room)
  const told: string[] = []
  const write = (name: string, one: Partial<LogWrite>) =>
    log.writer
      .write({ entries: [testEntry(name)], ...one })
      .then(({ kind }) => told.push(`${name} ${kind}`))
  const fence = { room, value }
  broken = true
  const first = write('first', { fence })
  await tick()
  const others = [write('second', { fence }), write('free', {})]
  while (told.length === 0) {
    await clock.advance(1_000)
    await tick()
  }
  const late = write('third', { fence })
  expect(told).toEqual(['free refused'])
  broken = false
  const advancing = setInterval(() => void clock.advance(1_000), 5)
  await Promise.all([first, ...others, late])
  clearInterval(advancing)
  expect(told).toEqual(['free refused', 'first done', 'second refused', 'third chained'])
})

it('finishes what is queued before it stops and rejects what comes after', async () => {
  const log = await openTestLog(test.db)
  const writes = Array.from({ length: 600 }, (_, n) =>
    log.writer.write({ entries: [testEntry(`stop-${n}`)] }),
  )
  await log[Symbol.asyncDispose]()
  const verdicts = await Promise.all(writes)
  expect(verdicts.every(({ kind }) => kind === 'done')).toBe(true)
  await expect(log.writer.write({ entries: [] })).rejects.toThrow('stopped')
})

/** Until what was written is in flight. */
function tick(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
}

/** Commits, and loses the answer when told to. */
function losingAnswers(db: Database, loses: () => boolean): Database {
  return new Proxy(db, {
    get(target, name) {
      if (name !== 'query') return Reflect.get(target, name)
      return async (sql: string, values: readonly unknown[]) => {
        const rows = await target.query(sql, values)
        if (sql.includes('log_commit') && loses()) {
          throw new DatabaseError('connection_lost', 'lost by the test')
        }
        return rows
      }
    },
  })
}
