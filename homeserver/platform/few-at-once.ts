/** How many tasks run, how many may wait, and what those beyond are told. */
interface Bounds {
  readonly atOnce: number
  /** Without it any number may wait. */
  readonly waiting?: { readonly max: number; readonly refusal: () => Error }
}

/** Runs at most `atOnce` tasks, in the order in which they came. Throws the refusal when too many wait already. */
export function fewAtOnce({ atOnce, waiting }: Bounds) {
  let running = 0
  const line: (() => void)[] = []
  return async <T>(task: () => Promise<T>): Promise<T> => {
    if (running >= atOnce) {
      if (waiting !== undefined && line.length >= waiting.max) throw waiting.refusal()
      await new Promise<void>((resolve) => line.push(resolve))
    } else {
      running += 1
    }
    try {
      return await task()
    } finally {
      const next = line.shift()
      if (next === undefined) running -= 1
      else next()
    }
  }
}
