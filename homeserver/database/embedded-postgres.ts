import { readFileSync } from 'node:fs'
import type { Logger } from '../platform/log.ts'
import { parseDatabaseUrl } from './address.ts'
import {
  type Cluster,
  clusterName,
  clusterUrl,
  initCluster,
  openCluster,
  spawnPostgres,
} from './cluster.ts'
import { type Connection, openConnection } from './connection.ts'
import { DatabaseError } from './database-error.ts'
import { findPostmaster } from './postmaster.ts'

/** Our own Postgres, for as long as this process lives. */
export interface EmbeddedPostgres extends AsyncDisposable {
  /** Address for createDatabase and for other processes of this machine. */
  readonly url: string
  /** Ends the server at once without waiting; for the `exit` event. */
  kill(): void
}

export interface EmbeddedOptions {
  readonly dataDir: string
  readonly log: Logger
  /** Folder with `postgres` and `initdb`; the npm package's unless given. */
  readonly binDir?: string | undefined
  /** Server settings on top of ours. */
  readonly settings?: Readonly<Record<string, string>>
  /** False leaves out the syncing of a new cluster to disk; for tests only. */
  readonly sync?: boolean
}

/** Another process works on the same data directory. */
export class DataDirectoryInUse extends Error {
  override readonly name = 'DataDirectoryInUse'
}

const startMs = 90_000
/** A server that lives but does not answer for so long is stopped and started again. */
const silentMs = 20_000
const pollMs = 50
const stopMs = 10_000
const claimMs = 5_000
const recoverMs = 500
/** The session that holds this advisory lock in the database `postgres` owns the cluster. */
const ownerLock = 7_164_002_002

/**
 * Starts the embedded Postgres of `dataDir`: makes the cluster at the first time, takes over a server that a crashed
 * process left behind, and starts it again when it crashes. Rejects with DataDirectoryInUse when another live process
 * has it.
 */
export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const cluster = openCluster(options.dataDir, options.binDir)
  const server = new Server(cluster, options)
  await server.start()
  return server
}

/** The address of the embedded Postgres that another process runs on `dataDir`; undefined when none answers. */
export async function findEmbeddedPostgres(
  dataDir: string,
  binDir?: string,
): Promise<string | undefined> {
  const cluster = openCluster(dataDir, binDir)
  if (findPostmaster(cluster.directory) === undefined) return undefined
  const connection = await connect(cluster)
  await connection?.close()
  return connection === undefined ? undefined : clusterUrl(cluster)
}

class Server implements EmbeddedPostgres {
  readonly url: string
  readonly #cluster: Cluster
  readonly #options: EmbeddedOptions
  #owner: Connection | undefined
  #stopping = false

  constructor(cluster: Cluster, options: EmbeddedOptions) {
    this.#cluster = cluster
    this.#options = options
    this.url = clusterUrl(cluster)
  }

  async start(): Promise<void> {
    await initCluster(this.#cluster, { sync: this.#options.sync ?? true })
    await this.#run()
    await this.#claim()
    await createMissingDatabase(this.#cluster)
  }

  kill(): void {
    this.#stopping = true
    signal(findPostmaster(this.#cluster.directory), 'SIGINT')
  }

  /** Fast shutdown: open transactions are rolled back, the data is written. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true
    await this.#owner?.close()
    await stop(this.#cluster)
  }

  /** Until a server answers: adopts a live one, waits for a starting one, replaces a silent one, starts a missing one. */
  async #run(): Promise<void> {
    const deadline = Date.now() + startMs
    let silentSince = Date.now()
    while (Date.now() < deadline) {
      if (this.#stopping) return
      const connection = await connect(this.#cluster)
      if (connection !== undefined) return await connection.close()
      if (findPostmaster(this.#cluster.directory) === undefined) {
        const child = spawnPostgres(this.#cluster, this.#options.settings ?? {})
        silentSince = Date.now()
        // It may refuse to start while processes of a killed server still hold its memory: the loop tries again.
        await Promise.race([child.exited, sleep(pollMs)])
      } else if (Date.now() - silentSince > silentMs) {
        await stop(this.#cluster)
        silentSince = Date.now()
      }
      await sleep(pollMs)
    }
    throw new Error(`the embedded Postgres does not start:\n${lastLines(this.#cluster.logFile)}`)
  }

  /** Takes the owner's lock on a session that is kept; its death means that the server has to be looked after. */
  async #claim(): Promise<void> {
    const deadline = Date.now() + claimMs
    const connection = await connect(this.#cluster, () => void this.#recover())
    if (connection === undefined) throw new Error('the embedded Postgres is gone again')
    for (;;) {
      const rows = await connection.run<{ mine: boolean }>(
        'select pg_try_advisory_lock($1) as mine',
        [ownerLock],
        claimMs,
      )
      if (rows[0]?.mine === true) break
      if (Date.now() > deadline) {
        const holder = await findOwner(connection)
        await connection.close()
        throw new DataDirectoryInUse(
          `${this.#options.dataDir} is in use by another Folkmoot process (${holder}): stop it, or give this one a DATA_DIR of its own`,
        )
      }
      // The session of an owner that was killed ends within moments.
      await sleep(pollMs)
    }
    this.#owner = connection
  }

  /** Never rejects: tries until the server is back or we stop. */
  async #recover(): Promise<void> {
    if (this.#stopping) return
    this.#options.log.error({}, 'the embedded Postgres is gone, starting it again')
    while (!this.#stopping) {
      try {
        await this.#run()
        await this.#claim()
        this.#options.log.info({}, 'the embedded Postgres is back')
        return
      } catch (error) {
        this.#options.log.error({ error }, 'the embedded Postgres does not come back')
        await sleep(recoverMs)
      }
    }
  }
}

async function connect(cluster: Cluster, onDeath?: () => void): Promise<Connection | undefined> {
  try {
    return await openConnection({
      address: parseDatabaseUrl(clusterUrl(cluster, 'postgres')),
      connectMs: 2_000,
      applicationName: `folkmoot owner ${process.pid}`,
      statementMs: 0,
      idleInTransactionMs: 0,
      ...(onDeath === undefined ? {} : { onDeath }),
    })
  } catch (error) {
    if (error instanceof DatabaseError && error.code === '28P01') {
      throw new Error('the embedded Postgres does not take the password in its data directory', {
        cause: error,
      })
    }
    return undefined
  }
}

async function findOwner(connection: Connection): Promise<string> {
  const rows = await connection.run<{ name: string }>(
    `select a.application_name as name from pg_locks l join pg_stat_activity a using (pid)
      where l.locktype = 'advisory' and l.granted and l.objid::bigint + (l.classid::bigint << 32) = $1`,
    [ownerLock],
    claimMs,
  )
  return rows[0]?.name.replace('folkmoot owner', 'process') ?? 'unknown'
}

async function createMissingDatabase(cluster: Cluster): Promise<void> {
  const connection = await connect(cluster)
  if (connection === undefined) throw new Error('the embedded Postgres is gone again')
  try {
    const found = await connection.run(
      'select 1 from pg_database where datname = $1',
      [clusterName],
      claimMs,
    )
    if (found.length === 0) {
      await connection.run(`create database ${clusterName}`, [], startMs)
    }
  } finally {
    await connection.close()
  }
}

/** Fast shutdown, then, if it takes too long, immediate shutdown: the log is replayed at the next start. */
async function stop(cluster: Cluster): Promise<void> {
  for (const name of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
    signal(findPostmaster(cluster.directory), name)
    const deadline = Date.now() + stopMs
    while (Date.now() < deadline) {
      if (findPostmaster(cluster.directory) === undefined) return
      await sleep(20)
    }
  }
}

function signal(pid: number | undefined, name: 'SIGINT' | 'SIGQUIT' | 'SIGKILL'): void {
  if (pid === undefined) return
  try {
    process.kill(pid, name)
  } catch {
    // Gone since we looked.
  }
}

function lastLines(path: string): string {
  try {
    return readFileSync(path, 'utf8').slice(-2_000)
  } catch {
    return `(no ${path})`
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
