import type { Clock } from '../platform/clock.ts'
import type { Position } from './log.ts'

/** Callers that wait for a position. */
export interface Waiters {
  /** True when `position` was passed in time; false at the deadline, when too many wait, and at the stop. */
  wait(position: Position, timeoutMs: number): Promise<boolean>
  passed(position: Position): void
  stop(): void
}

/** At most `waitersMax` wait at a time; one more is answered false at once. */
export function createWaiters(clock: Clock, waitersMax: number): Waiters {
  const waiting = new Set<{
    readonly position: Position
    readonly done: (reached: boolean) => void
  }>()
  // The lowest position somebody waits for: most positions concern no waiter.
  let lowest = Number.POSITIVE_INFINITY

  async function wait(position: Position, timeoutMs: number): Promise<boolean> {
    if (waiting.size >= waitersMax) return false
    const timer = new AbortController()
    const reached = new Promise<boolean>((resolve) => {
      const waiter = {
        position,
        done: (is: boolean) => {
          waiting.delete(waiter)
          resolve(is)
        },
      }
      waiting.add(waiter)
      lowest = Math.min(lowest, position)
      clock.sleep(timeoutMs, timer.signal).then(
        () => waiter.done(false),
        () => {},
      )
    })
    return reached.finally(() => timer.abort())
  }

  return {
    wait,
    passed(position) {
      if (position < lowest) return
      for (const waiter of waiting) if (waiter.position <= position) waiter.done(true)
      lowest = Number.POSITIVE_INFINITY
      for (const waiter of waiting) lowest = Math.min(lowest, waiter.position)
    },
    stop() {
      for (const waiter of waiting) waiter.done(false)
    },
  }
}
