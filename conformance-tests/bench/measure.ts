/** Measurements: many workers repeat one request; how long each took, how many a second, what it cost. */

/** One figure of one server in one round. */
export interface Measurement {
  readonly server: string
  readonly name: string
  readonly unit: string
  /** Which way is better; 'info' is no contest. */
  readonly better: 'higher' | 'lower' | 'info'
  /** Absent when the measurement failed. */
  readonly value?: number
  readonly samples?: number
  readonly failure?: string
}

/** When a measurement ends. */
export interface Limits {
  readonly samples: number
  readonly timeMs: number
}

/** What came of a load. */
export interface Load {
  readonly latenciesMs: readonly number[]
  readonly wallMs: number
}

/**
 * Runs workers in parallel until the samples are done or the time is over; the first error ends it. A request that
 * returns milliseconds has measured itself.
 */
export async function drive(
  workers: number,
  limits: Limits,
  request: (worker: number, index: number) => Promise<number | undefined>,
): Promise<Load> {
  const latenciesMs: number[] = []
  const startedAt = performance.now()
  let next = 0
  let failed = false
  async function work(worker: number): Promise<void> {
    while (!failed && next < limits.samples && performance.now() - startedAt < limits.timeMs) {
      const index = next++
      const before = performance.now()
      let tookMs: number | undefined

      try {
        tookMs = await request(worker, index)
      } catch (error) {
        failed = true
        throw error
      }
      latenciesMs.push(tookMs ?? performance.now() - before)
    }
  }
  await Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)))
  return { latenciesMs, wallMs: performance.now() - startedAt }
}

/** The smallest value that this share of the samples does not exceed. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}
