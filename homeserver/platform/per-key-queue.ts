/** One task at a time for each key (a room, a destination); keys do not wait for each other. */
export interface PerKeyQueue {
  /**
   * Runs `task` after those of the same key that were given before, and answers as it does. A task that fails does
   * not hold up the next. Rejects with QueueFullError when `waitingMax` tasks of this key are waiting.
   */
  run<T>(key: string, task: () => Promise<T>): Promise<T>
  /** Tasks of a key that run or wait. */
  length(key: string): number
  /** Keys with tasks. */
  readonly size: number
  /** Resolves when every task has ended. */
  idle(): Promise<void>
}

/** Too many tasks wait for one key. */
export class QueueFullError extends Error {
  override readonly name = 'QueueFullError'
}

interface Lane {
  tail: Promise<unknown>
  length: number
}

/** Makes a queue; `waitingMax` bounds the tasks of one key. */
export function createPerKeyQueue({ waitingMax }: { waitingMax: number }): PerKeyQueue {
  const lanes = new Map<string, Lane>()

  function run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const lane = lanes.get(key) ?? { tail: Promise.resolve(), length: 0 }
    if (lane.length > waitingMax) {
      return Promise.reject(new QueueFullError(`more than ${waitingMax} tasks wait for ${key}`))
    }
    lanes.set(key, lane)
    lane.length++
    const result = lane.tail.then(task).finally(() => {
      lane.length--
      if (lane.length === 0) lanes.delete(key)
    })
    lane.tail = result.catch(() => {})
    return result
  }

  return {
    run,
    length: (key) => lanes.get(key)?.length ?? 0,
    get size() {
      return lanes.size
    },
    idle: async () => {
      while (lanes.size > 0) await Promise.all([...lanes.values()].map(({ tail }) => tail))
    },
  }
}
