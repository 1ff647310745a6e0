import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger } from '../platform/log.ts'
import { createDatabase } from './database.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres.ts'
import { migrate } from './migrate.ts'
import { databaseUrl, templateUrlVariable } from './test-database.ts'

/**
 * The global set-up of a test run: one Postgres cluster with a migrated template database, which `testDatabase()`
 * copies. `TEST_POSTGRES=system` takes the machine's own Postgres instead of the npm package's.
 */
const { TEST_POSTGRES: postgres } = process.env
let server: EmbeddedPostgres | undefined
let dataDir: string | undefined

/** Called by vitest once before the first test. */
export async function setup(): Promise<void> {
  dataDir = mkdtempSync(join(tmpdir(), 'folkmoot-test-'))
  server = await startEmbeddedPostgres({
    dataDir,
    log: silentLogger,
    binDir: postgres === 'system' ? systemBinaries() : undefined,
    // Nothing here has to survive the machine; tests of durability start servers of their own.
    settings: { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' },
    sync: false,
  })
  const killServer = server.kill.bind(server)
  process.once('exit', killServer)
  const admin = createDatabase({ url: server.url, connections: 1 })
  await admin`create database template_folkmoot`
  await admin[Symbol.asyncDispose]()
  const templateUrl = databaseUrl(server.url, 'template_folkmoot')
  await migrate(templateUrl, silentLogger)
  process.env[templateUrlVariable] = templateUrl
}

/** Called by vitest once after the last test. */
export async function teardown(): Promise<void> {
  await server?.[Symbol.asyncDispose]()
  if (dataDir !== undefined) rmSync(dataDir, { recursive: true, force: true })
}

/** Debian's layout: /usr/lib/postgresql/<major>/bin; the newest wins. */
function systemBinaries(): string {
  const root = '/usr/lib/postgresql'
  const [newest] = readdirSync(root).sort((a, b) => Number(b) - Number(a))
  if (newest === undefined) throw new Error(`TEST_POSTGRES=system: no Postgres under ${root}`)
  return join(root, newest, 'bin')
}
