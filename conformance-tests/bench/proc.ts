/** CPU time and memory of a tree of processes, from /proc; without /proc (other systems) both are unknown. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'

const ticksPerSecond = 100
const pageBytes = 4_096
const sampleMs = 200

/** A moment of a process tree. */
export interface TreeUsage {
  /** User and system time in seconds, ended children included. */
  readonly cpuSeconds: number
  readonly rssBytes: number
}

/** Reads the tree below a process. */
export function readTree(root: number): TreeUsage {
  if (!existsSync('/proc/self/stat')) return { cpuSeconds: Number.NaN, rssBytes: Number.NaN }
  const children = new Map<number, number[]>()
  const usage = new Map<number, TreeUsage>()
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    const fields = Number.isInteger(pid) ? readStat(pid) : undefined
    if (!fields) continue
    // Counted from the state, the third field of the file.
    const [, parent = 0] = fields
    const ticks = fields.slice(11, 15).reduce((sum, one) => sum + one, 0)
    usage.set(pid, { cpuSeconds: ticks / ticksPerSecond, rssBytes: (fields[21] ?? 0) * pageBytes })
    children.set(parent, [...(children.get(parent) ?? []), pid])
  }
  let total: TreeUsage = { cpuSeconds: 0, rssBytes: 0 }
  const queue = [root]
  for (let pid = queue.pop(); pid !== undefined; pid = queue.pop()) {
    const own = usage.get(pid)
    if (own)
      total = {
        cpuSeconds: total.cpuSeconds + own.cpuSeconds,
        rssBytes: total.rssBytes + own.rssBytes,
      }
    queue.push(...(children.get(pid) ?? []))
  }
  return total
}

function readStat(pid: number): number[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number)
  } catch {
    return undefined
  }
}

/** Watches the memory of a tree; stop returns the peak of what was seen, in bytes. */
export function watchMemory(root: () => number): { stop: () => number } {
  let peak = 0
  const timer = setInterval(() => {
    peak = Math.max(peak, readTree(root()).rssBytes)
  }, sampleMs)
  return {
    stop() {
      clearInterval(timer)
      return peak
    },
  }
}
