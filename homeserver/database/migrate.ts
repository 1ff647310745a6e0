import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Logger } from '../platform/log.ts'
import { parseDatabaseUrl } from './address.ts'
import { type Connection, openConnection } from './connection.ts'

/** A migration as it lies in the repository: `NNNN-<slice>-<what>.sql`, first line `-- owner: <slice>`. */
export interface Migration {
  readonly name: string
  readonly sql: string
  /** Hex SHA-256 of the text with its line ends as LF. */
  readonly checksum: string
}

/** A database that this program must not touch; the message says what to do. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError'
}

/** Any number, the same in every process of ours: who holds this advisory lock migrates. */
const lockKey = 7_164_002_001
/** A migration may rewrite a large table. */
const migrationMs = 3_600_000
const connectMs = 10_000
const nameForm = /^\d{4}-[a-z]+(-[a-z0-9]+)+\.sql$/

/**
 * Brings the database to this program's schema: forward only, one transaction for each migration, one process at a
 * time. Answers the names of those applied. Rejects with MigrationError when an applied migration has changed or is
 * unknown here (a newer program has been there), having changed nothing.
 */
export async function migrate(
  url: string,
  log: Logger,
  migrations: readonly Migration[] = readMigrations(),
): Promise<string[]> {
  const connection = await openConnection({
    address: parseDatabaseUrl(url),
    connectMs,
    applicationName: 'folkmoot migrate',
    statementMs: 0,
    idleInTransactionMs: 0,
  })
  try {
    await checkServer(connection)
    // Lasts until this connection ends, also when this process dies.
    await connection.run('select pg_advisory_lock($1)', [lockKey], migrationMs)
    const applied = await appliedMigrations(connection)
    check(migrations, applied)
    const missing = migrations.filter(({ name }) => !applied.has(name))
    for (const migration of missing) {
      await apply(connection, migration)
      log.info({ migration: migration.name }, 'migration applied')
    }
    return missing.map(({ name }) => name)
  } finally {
    await connection.close()
  }
}

/** Names of the migrations that `url` lacks; empty: the schema is this program's. */
export async function missingMigrations(
  db: { query<T extends object>(sql: string, values: readonly unknown[]): Promise<T[]> },
  migrations: readonly Migration[] = readMigrations(),
): Promise<string[]> {
  const rows = await db.query<{ name: string }>('select name from schema_migrations', [])
  const applied = new Set(rows.map((row) => row.name))
  return migrations.filter(({ name }) => !applied.has(name)).map(({ name }) => name)
}

/** Reads the migrations that belong to this program, in order. */
export function readMigrations(directory: string = migrationsDirectory()): Migration[] {
  const names = readdirSync(directory).filter((name) => name.endsWith('.sql'))
  return names.sort().map((name) => {
    if (!nameForm.test(name)) throw new MigrationError(`migration ${name} has a malformed name`)
    const sql = readFileSync(`${directory}/${name}`, 'utf8').replaceAll('\r\n', '\n')
    return { name, sql, checksum: createHash('sha256').update(sql).digest('hex') }
  })
}

/** The compiler does not copy SQL: from dist/ the files are found in the source tree beside it. */
function migrationsDirectory(): string {
  const beside = fileURLToPath(new URL('./migrations', import.meta.url))
  if (existsSync(beside)) return beside
  return fileURLToPath(new URL('../../../homeserver/database/migrations', import.meta.url))
}

async function checkServer(connection: Connection): Promise<void> {
  const rows = await connection.run<{ version: number; encoding: string; recovery: boolean }>(
    `select current_setting('server_version_num')::int as version,
      current_setting('server_encoding') as encoding, pg_is_in_recovery() as recovery`,
    [],
    connectMs,
  )
  const server = rows[0]
  if (server === undefined || server.version < 150_000) {
    throw new MigrationError(`Postgres 15 or newer is needed, this is ${server?.version}`)
  }
  if (server.encoding !== 'UTF8') {
    throw new MigrationError(`the database must have the encoding UTF8, it has ${server.encoding}`)
  }
  if (server.recovery) throw new MigrationError('this is a read-only replica: name the primary')
}

async function appliedMigrations(connection: Connection): Promise<Map<string, string>> {
  await connection.script(
    `create table if not exists schema_migrations (
      name text primary key, checksum text not null, applied_at timestamptz not null default now())`,
    connectMs,
  )
  const rows = await connection.run<{ name: string; checksum: string }>(
    'select name, checksum from schema_migrations',
    [],
    connectMs,
  )
  return new Map(rows.map(({ name, checksum }) => [name, checksum]))
}

function check(migrations: readonly Migration[], applied: ReadonlyMap<string, string>): void {
  const ours = new Map(migrations.map(({ name, checksum }) => [name, checksum]))
  for (const [name, checksum] of applied) {
    if (!ours.has(name)) {
      throw new MigrationError(
        `the database has migration ${name}, which this version does not know: start a newer version`,
      )
    }
    if (ours.get(name) !== checksum) {
      throw new MigrationError(
        `migration ${name} was changed after it had been applied to this database: restore the file`,
      )
    }
  }
}

async function apply(connection: Connection, { name, sql, checksum }: Migration): Promise<void> {
  await connection.run('begin', [], connectMs)
  try {
    await connection.script(sql, migrationMs)
    await connection.run(
      'insert into schema_migrations (name, checksum) values ($1, $2)',
      [name, checksum],
      connectMs,
    )
    await connection.run('commit', [], migrationMs)
  } catch (error) {
    // The connection is closed by the caller, which rolls back.
    throw new MigrationError(`migration ${name}: ${error instanceof Error ? error.message : error}`)
  }
}
