/**
 * Places for work: so many for each key, so many altogether. Who finds none waits a while; keys that wait take turns,
 * so that one that asks for much does not keep the others out.
 */
import type { Clock } from '../homeserver/platform/clock.ts'
import { MatrixError } from '../spec/errors.ts'

export interface Places {
  /**
   * Runs `work` in a place of `key`, in the order of asking.
   * @throws MatrixError M_LIMIT_EXCEEDED when no place became free in time, or when too many wait
   */
  run<T>(key: string, work: () => Promise<T>): Promise<T>
}

export interface PlacesLimits {
  /** Works of one key at a time. */
  readonly perKeyMax: number
  /** Works of all keys at a time. */
  readonly totalMax: number
  /** How long one waits for a place. */
  readonly waitMs: number
}

/** Works of one key that may wait for a place. */
export const waitingPerKeyMax = 100
const waitingMax = 2_000
const retryAfterMs = 1_000

/** One that waits; called when its place is there. */
type Waiting = () => void

interface Lane {
  running: number
  readonly waiting: Waiting[]
}

export function createPlaces(limits: PlacesLimits, clock: Pick<Clock, 'sleep'>): Places {
  /** Keys with something that runs or waits; who was served last stands last. */
  const lanes = new Map<string, Lane>()
  let running = 0
  let waiting = 0

  function isFree({ running: own }: Lane): boolean {
    return running < limits.totalMax && own < limits.perKeyMax
  }

  function take(lane: Lane): void {
    lane.running++
    running++
  }

  function release(key: string, lane: Lane): void {
    lane.running--
    running--
    forgetIfIdle(key, lane)
    if (waiting > 0) serveNext()
  }

  function serveNext(): void {
    for (const [key, lane] of lanes) {
      if (!isFree(lane)) continue
      const next = lane.waiting.shift()
      if (next === undefined) continue
      lanes.delete(key)
      lanes.set(key, lane)
      next()
      return
    }
  }

  function forgetIfIdle(key: string, lane: Lane): void {
    if (lane.running === 0 && lane.waiting.length === 0) lanes.delete(key)
  }

  function turn(key: string, lane: Lane): Promise<void> {
    if (waiting >= waitingMax || lane.waiting.length >= waitingPerKeyMax) throw busy()
    waiting++
    const served = new AbortController()
    return new Promise((resolve, reject) => {
      const ticket = () => {
        waiting--
        take(lane)
        served.abort()
        resolve()
      }
      lane.waiting.push(ticket)
      const giveUp = () => {
        const at = lane.waiting.indexOf(ticket)
        if (at === -1) return
        lane.waiting.splice(at, 1)
        waiting--
        forgetIfIdle(key, lane)
        reject(busy())
      }
      // Rejects when the place was there in time.
      clock.sleep(limits.waitMs, served.signal).then(giveUp, () => {})
    })
  }

  return {
    async run(key, work) {
      const lane = lanes.get(key) ?? { running: 0, waiting: [] }
      lanes.set(key, lane)
      if (isFree(lane) && lane.waiting.length === 0) take(lane)
      else await turn(key, lane)
      try {
        return await work()
      } finally {
        release(key, lane)
      }
    },
  }
}

function busy(): MatrixError {
  const fields = { retry_after_ms: retryAfterMs }
  return new MatrixError('M_LIMIT_EXCEEDED', 'too many requests at a time', { fields })
}
