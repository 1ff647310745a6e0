import type { Clock } from '../platform/clock.ts'

/** Ends of many waits by one timer, a tenth of a second late at most. */
export interface Deadlines {
  /** Calls `expire` when the time has come, unless the answer is called before. */
  add(afterMs: number, expire: () => void): () => void
}

const tickMs = 100

export function createDeadlines(clock: Clock): Deadlines {
  const due = new Map<number, Set<() => void>>()
  let ticker: Disposable | undefined

  function tick(): void {
    const now = Math.floor(clock.now() / tickMs)
    for (const [at, calls] of due) {
      if (at > now) continue
      due.delete(at)
      for (const expire of calls) expire()
    }
    stopWhenIdle()
  }

  function stopWhenIdle(): void {
    if (due.size > 0) return
    ticker?.[Symbol.dispose]()
    ticker = undefined
  }

  return {
    add(afterMs, expire) {
      const at = Math.ceil((clock.now() + afterMs) / tickMs)
      const calls = due.get(at) ?? new Set()
      due.set(at, calls)
      // An own function each time: the same one may wait twice.
      const call = () => expire()
      calls.add(call)
      ticker ??= clock.every(tickMs, tick)
      return () => {
        calls.delete(call)
        if (calls.size > 0 || due.get(at) !== calls) return
        due.delete(at)
        stopWhenIdle()
      }
    },
  }
}
