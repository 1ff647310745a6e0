import net from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createDatabase, type Database } from './database.ts'
import { DatabaseError } from './database-error.ts'
import { type TestDatabase, testDatabase } from './test-database.ts'

let test: TestDatabase
/** The one that kills, on connections of its own. */
let admin: Database
beforeAll(async () => {
  test = await testDatabase({ connections: 6 })
  admin = createDatabase({ url: test.url, applicationName: 'admin', connections: 2 })
  await test.db`create table singles (id bigint primary key)`
  await test.db`create table pairs (id bigint, part int, primary key (id, part))`
})
afterAll(async () => {
  await admin[Symbol.asyncDispose]()
  await test[Symbol.asyncDispose]()
})

const uncaught: unknown[] = []
const remember = (error: unknown) => uncaught.push(error)
beforeEach(() => {
  process.on('uncaughtException', remember)
  process.on('unhandledRejection', remember)
})
afterEach(() => {
  process.off('uncaughtException', remember)
  process.off('unhandledRejection', remember)
  expect(uncaught).toEqual([])
})

/** What a writer was told about its row. */
type Told = 'done' | 'none' | 'unknown'

function toldBy(error: unknown): Told {
  if (error instanceof DatabaseError) return error.outcome
  throw error
}

describe('backends killed under load, 100 times', () => {
  it('leaves no half transaction, loses no acknowledged row, and never ends the process', async () => {
    const singles = new Map<number, Told>()
    const pairs = new Map<number, Told>()
    let stop = false
    let next = 0
    /** Writes that were acknowledged or refused, either way settled. */
    let answered = 0

    async function writeSingles(): Promise<void> {
      while (!stop) {
        const id = next++
        const told = test.db`insert into singles values (${id})`.then(() => 'done' as const, toldBy)
        singles.set(id, await told)
        answered++
      }
    }
    async function writePairs(): Promise<void> {
      while (!stop) {
        const id = next++
        const told = test.db.transaction(async (tx) => {
          await tx`insert into pairs values (${id}, 1)`.catch(() => {})
          await tx`insert into pairs values (${id}, 2)`.catch(() => {})
          await tx`insert into pairs values (${id}, 3)`
        })
        pairs.set(id, await told.then(() => 'done' as const, toldBy))
        answered++
      }
    }
    let readFailures = 0
    async function read(): Promise<void> {
      while (!stop) {
        await test.db`select count(*) as n from pairs where id = any(${[1, 2, 3]})`.catch(() => {
          readFailures++
        })
      }
    }

    const load = [
      ...Array.from({ length: 8 }, writeSingles),
      ...Array.from({ length: 8 }, writePairs),
      ...Array.from({ length: 4 }, read),
    ]
    let killed = 0
    while (killed < 100) {
      const rows = await admin<{ done: boolean }>`
        select pg_terminate_backend(pid) as done from pg_stat_activity
        where datname = current_database() and application_name = 'test'
        order by random() limit 1`
      killed += rows.filter(({ done }) => done).length
      // However slow the machine is, some work gets done between two kills.
      const enough = answered + 8
      while (answered < enough) await new Promise((resolve) => setTimeout(resolve, 2))
    }
    stop = true
    await Promise.all(load)

    expect(await problemsOfSingles(singles)).toEqual([])
    expect(await problemsOfPairs(pairs)).toEqual([])
    // A read is repeated on another connection; only a series of kills in a row reaches its caller.
    expect(readFailures).toBeLessThan(5)
    expect([...singles.values()].filter((told) => told === 'done').length).toBeGreaterThan(100)
    expect([...pairs.values()].filter((told) => told === 'done').length).toBeGreaterThan(50)
    expect(await test.db`select 1 as one`).toEqual([{ one: 1 }])
  }, 60_000)

  async function problemsOfSingles(singles: Map<number, Told>): Promise<string[]> {
    const rows = await admin<{ id: number }>`select id from singles`
    const stored = new Set(rows.map(({ id }) => id))
    return [...singles].flatMap(([id, told]) => {
      if (told === 'done' && !stored.has(id)) return [`${id} was acknowledged and is missing`]
      if (told === 'none' && stored.has(id)) return [`${id} was refused and is there`]
      return []
    })
  }

  async function problemsOfPairs(pairs: Map<number, Told>): Promise<string[]> {
    const rows = await admin<{ id: number; n: number }>`
      select id, count(*) as n from pairs group by id`
    const stored = new Map(rows.map(({ id, n }) => [id, n]))
    return [...pairs].flatMap(([id, told]) => {
      const n = stored.get(id) ?? 0
      if (n !== 0 && n !== 3) return [`${id} has ${n} of 3 rows`]
      if (told === 'done' && n === 0) return [`${id} was acknowledged and is missing`]
      if (told === 'none' && n !== 0) return [`${id} was refused and is there`]
      return []
    })
  }
})

describe('a connection whose server is silent', () => {
  it('is dropped at the deadline and replaced, and what waits is not held up for ever', async () => {
    await using proxy = await startProxy(socketPathOf(test.url))
    const db = createDatabase({
      url: proxy.url(test.url),
      connections: 3,
      statementMs: 500,
      connectMs: 500,
      acquireMs: 2_000,
    })
    await Promise.all([1, 2, 3].map((n) => db`select ${n}::int as n, pg_sleep(0.05)`))
    proxy.silence()
    const started = Date.now()
    const failures = await Promise.all(
      Array.from({ length: 6 }, () => db`select 1 as one`.catch((error: unknown) => error)),
    )
    expect(failures.every((error) => error instanceof DatabaseError)).toBe(true)
    expect(failures).toContainEqual(
      expect.objectContaining({ kind: 'deadline', outcome: 'unknown' }),
    )
    expect(Date.now() - started).toBeLessThan(6_000)
    proxy.speak()
    expect(await db`select 1 as one`).toEqual([{ one: 1 }])
    await db[Symbol.asyncDispose]()
  })

  it('is found within five seconds when only the way to it is broken', async () => {
    await using proxy = await startProxy(socketPathOf(test.url))
    const db = createDatabase({ url: proxy.url(test.url), connections: 2 })
    await db`create table if not exists lost_answers (id int)`
    await Promise.all([db`select pg_sleep(0.05)`, db`select pg_sleep(0.05)`])
    proxy.forget()
    const started = Date.now()
    // A read is repeated on a new connection, a write is not.
    const [read, write] = await Promise.allSettled([
      db`select 1 as one`,
      db`insert into lost_answers values (1)`,
    ])
    expect(read).toMatchObject({ status: 'fulfilled', value: [{ one: 1 }] })
    expect(write).toMatchObject({ reason: { kind: 'connection_lost', outcome: 'unknown' } })
    // Four seconds on an idle machine.
    expect(Date.now() - started).toBeLessThan(10_000)
    await db[Symbol.asyncDispose]()
  })

  it('is left alone while it works for long', async () => {
    const db = createDatabase({ url: test.url, connections: 1 })
    const [before] = await db<{ pid: number }>`select pg_backend_pid() as pid`
    await db`select pg_sleep(4.5)`
    const [after] = await db<{ pid: number }>`select pg_backend_pid() as pid`
    expect(after).toEqual(before)
    await db[Symbol.asyncDispose]()
  })

  it('ends a transaction at its deadline, also when the work waits for something else', async () => {
    const db = createDatabase({ url: test.url, connections: 1, transactionMs: 300 })
    const hangs = db.transaction(async (tx) => {
      await tx`select 1`
      await new Promise(() => {})
    })
    await expect(hangs).rejects.toMatchObject({ kind: 'deadline', outcome: 'none' })
    expect(await db`select 1 as one`).toEqual([{ one: 1 }])
    await db[Symbol.asyncDispose]()
  })
})

describe('a slow statement', () => {
  it('is cancelled by the server, and its connection lives on', async () => {
    const db = createDatabase({ url: test.url, connections: 1, statementMs: 200 })
    const [before] = await db<{ pid: number }>`select pg_backend_pid() as pid`
    await expect(db`select pg_sleep(5)`).rejects.toMatchObject({
      kind: 'deadline',
      outcome: 'none',
    })
    const [after] = await db<{ pid: number }>`select pg_backend_pid() as pid`
    expect(after).toEqual(before)
    await db[Symbol.asyncDispose]()
  })
})

describe('a database that is not there', () => {
  it('is waited for until the deadline, and a wrong password is reported at once', async () => {
    const absent = createDatabase({
      url: 'postgres://u:p@127.0.0.1:9/x',
      acquireMs: 400,
    })
    await expect(absent`select 1`).rejects.toMatchObject({ kind: 'unavailable', outcome: 'none' })
    await absent[Symbol.asyncDispose]()
    const wrong = new URL(test.url)
    wrong.password = 'wrong'
    const started = Date.now()
    const refused = createDatabase({ url: wrong.href })
    await expect(refused`select 1`).rejects.toMatchObject({ kind: 'unavailable', code: '28P01' })
    expect(Date.now() - started).toBeLessThan(3_000)
    await refused[Symbol.asyncDispose]()
  })

  it('refuses more callers than may wait', async () => {
    const db = createDatabase({ url: test.url, connections: 1, waitersMax: 2 })
    const results = await Promise.allSettled(
      Array.from({ length: 5 }, () => db`select pg_sleep(0.1)`),
    )
    const refused = results.filter(({ status }) => status === 'rejected')
    expect(refused.length).toBeGreaterThan(0)
    expect(refused[0]).toMatchObject({ reason: { kind: 'overloaded', outcome: 'none' } })
    await db[Symbol.asyncDispose]()
    await expect(db`select 1`).rejects.toMatchObject({ kind: 'closed' })
  })
})

function socketPathOf(url: string): string {
  return `${new URL(url).searchParams.get('host')}/.s.PGSQL.5432`
}

/** A TCP proxy before the server that can fall silent: it keeps its connections open and passes nothing on. */
async function startProxy(path: string) {
  let silent = false
  let forgotten = new Set<net.Socket>()
  const sockets = new Set<net.Socket>()
  const server = net.createServer((client) => {
    const upstream = net.connect({ path })
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from)
      from.on('data', (chunk) => {
        if (!silent && !forgotten.has(from)) to.write(chunk)
      })
      from.on('error', () => {})
      from.on('close', () => to.destroy())
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  return {
    silence: () => {
      silent = true
    },
    /** Present connections pass nothing on any more; new ones do. */
    forget: () => {
      forgotten = new Set(sockets)
    },
    speak: () => {
      silent = false
    },
    url: (original: string) => {
      const url = new URL(original)
      url.search = ''
      url.hostname = '127.0.0.1'
      url.port = String(port)
      return url.href
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
