/** How many requests go out at a time: to all gateways, and to one, so that a slow one keeps no other waiting. */
export interface Slots {
  /** Runs the task when there is a place for its key; first come, first served. */
  run<T>(key: string, task: () => Promise<T>): Promise<T>
}

interface Waiting {
  readonly key: string
  readonly begin: () => void
}

/** Who waits is bounded by the callers: a pusher has one request at a time. */
export function createSlots({ perKey, total }: { perKey: number; total: number }): Slots {
  const taken = new Map<string, number>()
  const waiting: Waiting[] = []
  let running = 0

  const isFree = (key: string) => running < total && (taken.get(key) ?? 0) < perKey

  function take(key: string): void {
    running += 1
    taken.set(key, (taken.get(key) ?? 0) + 1)
  }

  function release(key: string): void {
    running -= 1
    const left = (taken.get(key) ?? 1) - 1
    if (left === 0) taken.delete(key)
    else taken.set(key, left)
    const next = waiting.findIndex((one) => isFree(one.key))
    const [begun] = next === -1 ? [] : waiting.splice(next, 1)
    if (begun === undefined) return
    take(begun.key)
    begun.begin()
  }

  return {
    async run(key, task) {
      if (isFree(key)) take(key)
      else await new Promise<void>((begin) => waiting.push({ key, begin }))
      try {
        return await task()
      } finally {
        release(key)
      }
    },
  }
}
