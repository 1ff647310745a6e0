import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type PostgresUser,
  postgresBinaries,
  postgresUser,
  reachable,
} from './postgres-binaries.ts'
import { isPostgresOf, lockedBy } from './postmaster.ts'

/** Where one embedded Postgres keeps its things. */
export interface Cluster {
  /** PGDATA. */
  readonly directory: string
  /** Folder of the Unix socket; nobody but the Postgres user may enter it. */
  readonly socketDirectory: string
  readonly logFile: string
  readonly password: string
  readonly binDir: string
  readonly user: PostgresUser | undefined
}

/** Name of the database user and of the database. */
export const clusterName = 'folkmoot'
const logSizeMax = 10 * 1024 * 1024
/** Longest path of a Unix socket that every system takes, less `/.s.PGSQL.5432`. */
const socketDirectoryLengthMax = 103 - 14
/** Where root puts the cluster when the Postgres user cannot walk to the data directory. */
const rootFallback = '/var/lib/folkmoot'

/** Finds or makes the folders of the cluster that belongs to `dataDir`. */
export function openCluster(dataDir: string, binDir: string | undefined): Cluster {
  mkdirSync(dataDir, { recursive: true, mode: 0o711 })
  const user = postgresUser()
  const base = baseDirectory(realpathSync(dataDir), user)
  makeDirectory(base, undefined, 0o711)
  const logFile = join(base, 'postgres.log')
  if (existsSync(logFile) && statSync(logFile).size > logSizeMax)
    renameSync(logFile, `${logFile}.1`)
  return {
    directory: join(base, 'cluster'),
    socketDirectory: socketDirectory(base, user),
    logFile,
    password: readOrMakePassword(join(base, 'password')),
    binDir: postgresBinaries({ binDir, copyTo: base, user }),
    user,
  }
}

function baseDirectory(dataDir: string, user: PostgresUser | undefined): string {
  const usual = join(dataDir, 'postgres')
  if (user === undefined) return usual
  // Entering is not reading: what is secret in the data directory has modes of its own.
  const mode = statSync(dataDir).mode & 0o7777
  if ((mode & 0o001) === 0) chmodSync(dataDir, mode | 0o011)
  if (reachable(dataDir, user)) return usual
  const hash = createHash('sha256').update(dataDir).digest('hex').slice(0, 12)
  mkdirSync(rootFallback, { recursive: true, mode: 0o711 })
  return join(rootFallback, `postgres-${hash}`)
}

function socketDirectory(base: string, user: PostgresUser | undefined): string {
  const usual = join(base, 'run')
  const hash = createHash('sha256').update(base).digest('hex').slice(0, 16)
  const path = usual.length <= socketDirectoryLengthMax ? usual : join(tmpdir(), `folkmoot-${hash}`)
  makeDirectory(path, user, 0o700)
  return path
}

function makeDirectory(path: string, owner: PostgresUser | undefined, mode: number): void {
  mkdirSync(path, { recursive: true, mode })
  const stat = lstatSync(path)
  const uid = owner?.uid ?? process.getuid?.()
  if (!stat.isDirectory()) throw new Error(`${path} is not a folder`)
  if (owner !== undefined && process.getuid?.() === 0) chownSync(path, owner.uid, owner.gid)
  else if (uid !== undefined && stat.uid !== uid) throw new Error(`${path} belongs to another user`)
  chmodSync(path, mode)
}

function readOrMakePassword(path: string): string {
  if (!existsSync(path)) {
    // `wx`: of two first starts at the same time one makes it and the other reads it.
    try {
      writeFileSync(path, randomBytes(24).toString('hex'), { mode: 0o600, flag: 'wx' })
    } catch (error) {
      if (!existsSync(path)) throw error
    }
  }
  return readFileSync(path, 'utf8').trim()
}

/** The cluster's address for the pool. */
export function clusterUrl(cluster: Cluster, database: string = clusterName): string {
  const host = encodeURIComponent(cluster.socketDirectory)
  return `postgres://${clusterName}:${cluster.password}@localhost/${database}?host=${host}`
}

/** Runs initdb when there is no cluster yet, beside the final name: a broken one is never found. */
export async function initCluster(cluster: Cluster, options: { sync: boolean }): Promise<void> {
  removeScratch(cluster)
  if (existsSync(cluster.directory)) return checkVersion(cluster)
  const scratch = `${cluster.directory}.new-${process.pid}`
  const passwordFile = join(cluster.socketDirectory, `initdb-${process.pid}`)
  makeDirectory(scratch, cluster.user, 0o700)
  writeFileSync(passwordFile, cluster.password, { mode: 0o600 })
  if (cluster.user) chownSync(passwordFile, cluster.user.uid, cluster.user.gid)
  try {
    const locale =
      (await majorVersion(cluster)) >= 17
        ? ['--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8']
        : ['--locale=C']
    await run(cluster, 'initdb', [
      ...['-D', scratch, '-U', clusterName, '-E', 'UTF8', '-A', 'scram-sha-256'],
      ...[`--pwfile=${passwordFile}`, ...locale, ...(options.sync ? [] : ['--no-sync'])],
    ])
    if (!existsSync(cluster.directory)) renameSync(scratch, cluster.directory)
  } finally {
    rmSync(passwordFile, { force: true })
    rmSync(scratch, { recursive: true, force: true })
  }
}

/** What an initdb left behind whose process is gone. */
function removeScratch(cluster: Cluster): void {
  const base = join(cluster.directory, '..')
  for (const name of readdirSync(base)) {
    const pid = /^cluster\.new-(\d+)$/.exec(name)?.[1]
    if (pid !== undefined && !isRunning(Number(pid))) rmSync(join(base, name), { recursive: true })
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function checkVersion(cluster: Cluster): Promise<void> {
  const found = readFileSync(join(cluster.directory, 'PG_VERSION'), 'utf8').trim()
  const ours = await majorVersion(cluster)
  if (Number(found) !== ours) {
    throw new Error(
      `${cluster.directory} was made by Postgres ${found}, and this is Postgres ${ours}: start the version of this program that made it, take a backup and restore it here`,
    )
  }
}

async function majorVersion(cluster: Cluster): Promise<number> {
  const text = await run(cluster, 'postgres', ['--version'])
  return Number(/(\d+)/.exec(text)?.[1])
}

/** Runs one of the cluster's programs to its end; rejects with what it said. */
function run(cluster: Cluster, program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(join(cluster.binDir, program), args, {
      ...cluster.user,
      cwd: '/',
      env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    child.stdout.on('data', (chunk) => {
      output += chunk
    })
    child.stderr.on('data', (chunk) => {
      output += chunk
    })
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0) resolve(output)
      else reject(new Error(`${program} failed: ${output.slice(-2_000)}`))
    })
  })
}

/**
 * Starts the server and answers its process id; whether it is ready, only a connection tells. It has a session of its
 * own, so that Ctrl-C reaches it through our drain and not before, and writes to a file, so that it outlives us.
 */
export function spawnPostgres(
  cluster: Cluster,
  settings: Readonly<Record<string, string>>,
): { pid: number | undefined; exited: Promise<void> } {
  removeStaleLocks(cluster)
  const log = openSync(cluster.logFile, 'a', 0o600)
  const all = { ...serverSettings(cluster), ...settings }
  const args = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const child = spawn(join(cluster.binDir, 'postgres'), ['-D', cluster.directory, ...args], {
    ...cluster.user,
    cwd: '/',
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
    detached: true,
    stdio: ['ignore', log, log],
  })
  closeSync(log)
  child.unref()
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  return { pid: child.pid, exited }
}

function serverSettings(cluster: Cluster): Record<string, string> {
  return {
    listen_addresses: '',
    unix_socket_directories: cluster.socketDirectory,
    unix_socket_permissions: '0700',
    max_connections: '200',
    shared_buffers: '128MB',
    max_wal_size: '1GB',
    // Statements are short and prepared: compiling them costs more than it gives.
    jit: 'off',
    log_min_messages: 'warning',
    log_checkpoints: 'off',
    // Statements and details carry what users wrote.
    log_min_error_statement: 'panic',
    log_error_verbosity: 'terse',
    log_line_prefix: '%m [%p] ',
    timezone: 'UTC',
  }
}

/** Lock files of a server that is gone, whose process id another program has by now. */
function removeStaleLocks(cluster: Cluster): void {
  for (const path of [
    join(cluster.directory, 'postmaster.pid'),
    join(cluster.socketDirectory, '.s.PGSQL.5432.lock'),
  ]) {
    const pid = lockedBy(path)
    if (pid !== undefined && !isPostgresOf(pid, cluster.directory)) rmSync(path, { force: true })
  }
}
