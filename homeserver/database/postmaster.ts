import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The process id of the server that runs on `directory`, ours or one that an earlier process left behind. */
export function findPostmaster(directory: string): number | undefined {
  const pid = lockedBy(join(directory, 'postmaster.pid'))
  return pid !== undefined && isPostgresOf(pid, directory) ? pid : undefined
}

/** The process id in the first line of a lock file; undefined when there is no such file. */
export function lockedBy(path: string): number | undefined {
  try {
    return Number(readFileSync(path, 'utf8').split('\n')[0])
  } catch {
    // Looking first would not help: a stopping server removes it at any moment.
    return undefined
  }
}

/** True when `pid` lives and was started on `directory`. A number in a lock file may have passed to another program. */
export function isPostgresOf(pid: number, directory: string): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 1) return false
  const command = commandOf(pid)
  return command.includes('postgres') && command.includes(directory)
}

function commandOf(pid: number): string {
  try {
    // A zombie has no command line: it holds nothing any more.
    if (existsSync('/proc/self/cmdline')) {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
    }
    return execFileSync('ps', ['-p', String(pid), '-o', 'command='], { encoding: 'utf8' })
  } catch {
    return ''
  }
}
