import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Db } from './database.ts'
import { DatabaseError, isUniqueViolation } from './database-error.ts'
import { type TestDatabase, testDatabase } from './test-database.ts'

let test: TestDatabase
beforeAll(async () => {
  test = await testDatabase()
  await test.db`create table words (id bigint primary key, word text not null)`
})
afterAll(() => test[Symbol.asyncDispose]())

describe('values', () => {
  it('returns 8-byte integers and counts as numbers', async () => {
    const rows = await test.db`select 9007199254740991::bigint as big, count(*) as n from words`
    expect(rows).toEqual([{ big: 9007199254740991, n: 0 }])
  })

  it('takes arrays for any() and unnest(), with quotes, nulls, backslashes and empty ones', async () => {
    const texts = ['a', 'b,c', '"q"', '\\', '{}', 'NULL', '', 'ünï🎉']
    expect(await test.db`select ${texts}::text[] as texts`).toEqual([{ texts }])
    expect(await test.db`select ${[null, 'x']}::text[] as texts`).toEqual([{ texts: [null, 'x'] }])
    expect(await test.db`select ${[]}::bigint[] as numbers`).toEqual([{ numbers: [] }])
    expect(await test.db`select ${[1, -2]}::bigint[] as numbers`).toEqual([{ numbers: [1, -2] }])
    expect(await test.db`select ${[true, false]}::boolean[] as flags`).toEqual([
      { flags: [true, false] },
    ])
    const found = await test.db`select v from unnest(${[3, 1]}::int[]) v where v = any(${[1, 2]})`
    expect(found).toEqual([{ v: 1 }])
  })

  it('takes objects as jsonb, and JSON text by way of text', async () => {
    const rows = await test.db`
      select ${{ a: [1] }}::jsonb as object, ${'{"b":2}'}::text::jsonb as text`
    expect(rows).toEqual([{ object: { a: [1] }, text: { b: 2 } }])
  })

  it('takes dates, bytes, booleans and null', async () => {
    const at = new Date(86_400_000)
    const bytes = Buffer.from([0, 1, 255])
    const rows = await test.db`
      select ${at}::timestamptz as at, ${bytes}::bytea as bytes, ${true}::bool as yes, ${null}::text as none`
    expect(rows).toEqual([{ at, bytes, yes: true, none: null }])
  })

  it('refuses undefined and what the server cannot store, and goes on', async () => {
    await expect(test.db`select ${undefined}::text`).rejects.toMatchObject({ kind: 'refused' })
    await expect(test.db`select ${'a\u0000b'}::text`).rejects.toMatchObject({ kind: 'refused' })
    await expect(test.db`select ${'x'}::bigint[]`).rejects.toMatchObject({ kind: 'refused' })
    expect(await test.db`select 1 as one`).toEqual([{ one: 1 }])
  })

  it('runs one statement only', async () => {
    await expect(test.db`select 1; select 2`).rejects.toMatchObject({ code: '42601' })
  })
})

describe('errors', () => {
  it('name the code and the constraint and no values', async () => {
    await test.db`insert into words values (1, 'secret')`
    const error = await test.db`insert into words values (1, 'secret')`.catch((e: unknown) => e)
    expect(isUniqueViolation(error, 'words_pkey')).toBe(true)
    expect(isUniqueViolation(error, 'other')).toBe(false)
    expect(error).toMatchObject({ kind: 'refused', outcome: 'none' })
    expect(`${error}`).not.toContain('secret')
  })
})

describe('a transaction', () => {
  it('commits what it did', async () => {
    const answer = await test.db.transaction(async (tx) => {
      await tx`insert into words values (10, 'ten')`
      return 'done'
    })
    expect(answer).toBe('done')
    expect(await words(10)).toEqual(['ten'])
  })

  it('rolls back when the work throws', async () => {
    const work = test.db.transaction(async (tx) => {
      await tx`insert into words values (11, 'eleven')`
      throw new Error('no')
    })
    await expect(work).rejects.toThrow('no')
    expect(await words(11)).toEqual([])
  })

  it('refuses every statement after a failure, also when the work swallows the failure', async () => {
    let second: unknown
    const work = test.db.transaction(async (tx) => {
      await tx`insert into words values (12, 'twelve')`
      await tx`select nonsense`.catch(() => {})
      second = await tx`insert into words values (13, 'thirteen')`.catch((e: unknown) => e)
    })
    await expect(work).rejects.toMatchObject({ code: '42703' })
    expect(second).toMatchObject({ kind: 'transaction_over' })
    expect([...(await words(12)), ...(await words(13))]).toEqual([])
  })

  it('refuses statements after its end', async () => {
    let leaked: Db | undefined
    await test.db.transaction(async (tx) => {
      leaked = tx
    })
    await expect(leaked?.query('select 1', [])).rejects.toMatchObject({ kind: 'transaction_over' })
  })

  it('runs statements that are started together one after the other', async () => {
    const rows = await test.db.transaction((tx) =>
      Promise.all([tx`select 1 as n`, tx`select 2 as n`, tx`select 3 as n`]),
    )
    expect(rows.flat()).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }])
  })

  it('loses nothing but itself when its backend dies between two statements', async () => {
    let after: unknown
    const work = test.db.transaction(async (tx) => {
      const [row] = await tx<{ pid: number }>`select pg_backend_pid() as pid`
      await tx`insert into words values (20, 'twenty')`
      await test.db`select pg_terminate_backend(${row?.pid})`
      // Others wait for connections meanwhile: their session must not carry on this transaction.
      const others = Array.from({ length: 20 }, () => test.db`select pg_sleep(0.01)`)
      after = await tx`insert into words values (21, 'twenty-one')`.catch((e: unknown) => e)
      await tx`insert into words values (22, 'twenty-two')`.catch(() => {})
      await Promise.all(others)
    })
    await expect(work).rejects.toMatchObject({ kind: 'connection_lost', outcome: 'none' })
    expect(after).toBeInstanceOf(DatabaseError)
    const rows = await test.db`select id from words where id between 20 and 29`
    expect(rows).toEqual([])
  })
})

async function words(id: number): Promise<string[]> {
  const rows = await test.db<{ word: string }>`select word from words where id = ${id}`
  return rows.map(({ word }) => word)
}

describe('a listener', () => {
  it('hears notifications, and says so when it had to reconnect', async () => {
    const heard: string[] = []
    let lost = 0
    const listener = await test.db.listen(
      'news',
      (payload) => heard.push(payload),
      () => lost++,
    )
    await test.db`select pg_notify('news', 'one')`
    await expect.poll(() => heard).toEqual(['one'])
    await test.db`select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'test listener' and datname = current_database()`
    await expect.poll(() => lost).toBe(1)
    await test.db`select pg_notify('news', 'two')`
    await expect.poll(() => heard).toEqual(['one', 'two'])
    await listener[Symbol.asyncDispose]()
  })
})
