import { existsSync, mkdirSync } from 'node:fs'
import { selfCheck } from '../../spec/crypto/ed25519.ts'
import { type Config, mediaFolder } from '../config.ts'
import { createDatabase, type Database } from '../database/database.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../database/embedded-postgres.ts'
import { migrate } from '../database/migrate.ts'
import { type Instance, openInstance } from '../keys/instance.ts'
import { checkSharedFolder } from '../keys/shared-folder.ts'
import type { Logger } from '../platform/log.ts'
import { systemRandom } from '../platform/random.ts'

/** A database that is ready to be served from: there, migrated, and ours. */
export interface Prepared extends AsyncDisposable {
  readonly databaseUrl: string
  /** True at the very first start. */
  readonly isNew: boolean
}

/**
 * Checks the cryptography against a second implementation, starts the embedded Postgres when no other is configured, applies migrations, and checks that the database belongs
 * to this server. Rejects with an error whose message is for the operator.
 */
export async function prepare(config: Config, log: Logger): Promise<Prepared> {
  selfCheck()
  mkdirSync(config.dataDir, { recursive: true, mode: 0o711 })
  const embedded = config.databaseUrl === '' ? await startEmbedded(config, log) : undefined
  try {
    const databaseUrl = embedded?.url ?? config.databaseUrl
    await migrate(databaseUrl, log)
    await using db = createDatabase({ url: databaseUrl, connections: 1 })
    const instance = await openOurs(config, db)
    if (embedded === undefined) await checkSharedFolder(db, systemRandom, mediaFolder(config))
    return {
      databaseUrl,
      isNew: instance.isNew,
      [Symbol.asyncDispose]: async () => await embedded?.[Symbol.asyncDispose](),
    }
  } catch (error) {
    await embedded?.[Symbol.asyncDispose]()
    throw error
  }
}

/** Name, key and secret of this instance, by the configuration's rules. */
export function openOurs(config: Config, db: Database): Promise<Instance> {
  return openInstance({
    db,
    random: systemRandom,
    serverName: config.serverName,
    filesDir: config.databaseUrl === '' ? config.dataDir : undefined,
    signingKeyFile: config.signingKeyFile,
  })
}

async function startEmbedded(config: Config, log: Logger): Promise<EmbeddedPostgres> {
  if (!existsSync(`${config.dataDir}/postgres`)) {
    log.info({ dataDir: config.dataDir }, 'first start: making a database, this takes some seconds')
  }
  const embedded = await startEmbeddedPostgres({
    dataDir: config.dataDir,
    log,
    binDir: config.postgresBinDir || undefined,
  })
  // However this process ends, short of SIGKILL, the server ends with it.
  process.once('exit', () => embedded.kill())
  return embedded
}
