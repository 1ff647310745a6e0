/** The processes that a launched server consists of, where the machine tells (Linux). */
import { readdirSync, readFileSync } from 'node:fs'

/** Does this machine tell which processes a process has started. */
export const canListChildren = process.platform === 'linux'

/** Process ids of the Node processes that `pid` has started. */
export function nodeChildren(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((child) => parentOf(child) === pid && commandOf(child).includes('node'))
}

function parentOf(pid: number): number | undefined {
  // The command before it may contain anything, also parentheses.
  const fields = read(`/proc/${pid}/stat`).split(') ').at(-1)?.split(' ')
  return fields?.[1] === undefined ? undefined : Number(fields[1])
}

function commandOf(pid: number): string {
  return read(`/proc/${pid}/cmdline`).split('\0')[0] ?? ''
}

/** Empty when the process has ended meanwhile. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
