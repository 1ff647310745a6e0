import { type ChildProcess, spawn } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { silentLogger } from '../platform/log.ts'
import { createDatabase, type Database } from './database.ts'
import {
  type EmbeddedPostgres,
  findEmbeddedPostgres,
  startEmbeddedPostgres,
} from './embedded-postgres.ts'
import { findPostmaster } from './postmaster.ts'

let root: string
let dataDir: string
let cluster: string
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'folkmoot-embedded-'))
  // Postgres, which does not run as root, has to walk through.
  chmodSync(root, 0o755)
  dataDir = join(root, 'data')
  cluster = join(dataDir, 'postgres', 'cluster')
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

function start(directory = dataDir): Promise<EmbeddedPostgres> {
  return startEmbeddedPostgres({ dataDir: directory, log: silentLogger, sync: false })
}

async function withDatabase<T>(url: string, work: (db: Database) => Promise<T>): Promise<T> {
  await using db = createDatabase({ url, connections: 2, acquireMs: 20_000 })
  return await work(db)
}

const notes = (url: string) =>
  withDatabase(url, async (db) => {
    const rows = await db<{ text: string }>`select text from notes order by text`
    return rows.map(({ text }) => text)
  })

/** Another process that starts the embedded Postgres and then does as it is told. */
function startElsewhere(then: string): { child: ChildProcess; output: Promise<string> } {
  const module = fileURLToPath(new URL('./embedded-postgres.ts', import.meta.url))
  const code = `
    import { startEmbeddedPostgres } from ${JSON.stringify(module)}
    const log = { debug() {}, info() {}, warn() {}, error() {}, child() { return log } }
    try {
      const server = await startEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)}, log, sync: false })
      ${then}
    } catch (error) { console.log(error.name + ': ' + error.message); process.exit(1) }`
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const output = new Promise<string>((resolve) => {
    let text = ''
    child.stdout?.on('data', (chunk) => {
      text += chunk
      if (text.includes('\n')) resolve(text)
    })
    child.once('close', () => resolve(text))
  })
  return { child, output }
}

it('makes a cluster, keeps its data over a restart, and stops at the end', async () => {
  const first = await start()
  await withDatabase(first.url, async (db) => {
    await db`create table notes (text text primary key)`
    await db`insert into notes values ('first')`
  })
  expect(await findEmbeddedPostgres(dataDir)).toBe(first.url)
  await first[Symbol.asyncDispose]()
  expect(findPostmaster(cluster)).toBeUndefined()
  expect(await findEmbeddedPostgres(dataDir)).toBeUndefined()
  const second = await start()
  expect(await notes(second.url)).toEqual(['first'])
  await second[Symbol.asyncDispose]()
})

it('refuses a second process on the same data directory and says which has it', async () => {
  const server = await start()
  const { output } = startElsewhere(`console.log('started')`)
  const text = await output
  expect(text).toContain('DataDirectoryInUse')
  expect(text).toContain(`process ${process.pid}`)
  expect(await notes(server.url)).toEqual(['first'])
  await server[Symbol.asyncDispose]()
})

it('takes over the server of a process that was killed', async () => {
  const { child, output } = startElsewhere(`console.log('started'); setInterval(() => {}, 1000)`)
  expect(await output).toBe('started\n')
  const orphan = findPostmaster(cluster)
  expect(orphan).toBeDefined()
  child.kill('SIGKILL')
  await new Promise((resolve) => child.once('close', resolve))
  expect(findPostmaster(cluster)).toBe(orphan)
  const server = await start()
  expect(findPostmaster(cluster)).toBe(orphan)
  expect(await notes(server.url)).toEqual(['first'])
  await server[Symbol.asyncDispose]()
})

it('starts the server again when it is killed, with what was committed', async () => {
  const server = await start()
  await withDatabase(server.url, async (db) => {
    await db`insert into notes values ('second')`
    const victim = findPostmaster(cluster) ?? 0
    expect(victim).toBeGreaterThan(1)
    process.kill(victim, 'SIGKILL')
    await expect.poll(() => findPostmaster(cluster) ?? victim, { timeout: 20_000 }).not.toBe(victim)
    expect(await db`select 1 as one`).toEqual([{ one: 1 }])
  })
  expect(await notes(server.url)).toEqual(['first', 'second'])
  await server[Symbol.asyncDispose]()
}, 40_000)

it('is not kept from starting by a lock file whose process id another program has', async () => {
  const stale = `${process.pid}\n${cluster}\n1\n5432\n`
  writeFileSync(join(cluster, 'postmaster.pid'), stale)
  const server = await start()
  expect(await notes(server.url)).toEqual(['first', 'second'])
  await server[Symbol.asyncDispose]()
})

it('says what is wrong when the cluster is of another version', async () => {
  const version = join(cluster, 'PG_VERSION')
  const kept = readFileSync(version, 'utf8')
  writeFileSync(version, '12\n')
  await expect(start()).rejects.toThrow(/made by Postgres 12/)
  writeFileSync(version, kept)
})

it.runIf(process.getuid?.() === 0)(
  'keeps the cluster elsewhere when root has put the data where Postgres may not go',
  async () => {
    const hidden = join(root, 'closed', 'data')
    mkdirSync(dirname(hidden), { mode: 0o700 })
    const server = await start(hidden)
    expect(existsSync(join(hidden, 'postgres'))).toBe(false)
    const [row] = await withDatabase(
      server.url,
      (db) => db<{ dir: string }>`
      select setting as dir from pg_settings where name = 'data_directory'`,
    )
    expect(row?.dir).toMatch(/^\/var\/lib\/folkmoot\/postgres-[0-9a-f]{12}\/cluster$/)
    await server[Symbol.asyncDispose]()
    if (row !== undefined) rmSync(dirname(row.dir), { recursive: true })
  },
)
