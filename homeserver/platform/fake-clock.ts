import type { Clock } from './clock.ts'

interface Sleeper {
  due: number
  readonly wake: () => void
}

/** A clock for tests: time stands still until `advance` moves it, and what is due by then runs in order of its time. */
export class FakeClock implements Clock {
  #now: number
  readonly #sleepers = new Set<Sleeper>()

  constructor(startMs = 1_700_000_000_000) {
    this.#now = startMs
  }

  now(): number {
    return this.#now
  }

  /** How many sleeps and tickers are waiting. */
  get waiting(): number {
    return this.#sleepers.size
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const onAbort = () => {
        this.#sleepers.delete(sleeper)
        reject(signal?.reason)
      }
      const sleeper: Sleeper = {
        due: this.#now + ms,
        wake: () => {
          this.#sleepers.delete(sleeper)
          signal?.removeEventListener('abort', onAbort)
          resolve()
        },
      }
      this.#sleepers.add(sleeper)
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  every(ms: number, tick: () => void): Disposable {
    const sleeper: Sleeper = {
      due: this.#now + ms,
      wake: () => {
        sleeper.due += ms
        tick()
      },
    }
    this.#sleepers.add(sleeper)
    return { [Symbol.dispose]: () => void this.#sleepers.delete(sleeper) }
  }

  /** Moves time forward by `ms`, waking what falls due on the way; promise callbacks run between two wake-ups. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    for (;;) {
      const next = [...this.#sleepers].sort((a, b) => a.due - b.due)[0]
      if (next === undefined || next.due > end) break
      this.#now = Math.max(this.#now, next.due)
      next.wake()
      await settle()
    }
    this.#now = end
    await settle()
  }
}

/** Lets every promise callback that is ready run. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
