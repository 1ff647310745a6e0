import type { Database } from '../database/database.ts'
import { nextBlocks } from './queries.ts'

/** Numbers for events and state nodes: rising within a process, unique among all, known before the commit. */
export interface Numbers {
  /** Resolves when `count` numbers can be taken without waiting. */
  ready(count: number): Promise<void>
  /** The next number. */
  take(): number
}

/** As the sequence `event_numbers` steps. */
const blockSize = 1_000

export function createNumbers({ db }: { readonly db: Database }): Numbers {
  const blocks: { next: number; end: number }[] = []
  let fetching: Promise<void> | undefined

  const left = () => blocks.reduce((sum, { next, end }) => sum + end - next, 0)

  async function fetch(count: number): Promise<void> {
    try {
      const firsts = await nextBlocks(db, Math.max(1, Math.ceil((count - left()) / blockSize)))
      for (const first of firsts) blocks.push({ next: first, end: first + blockSize })
    } finally {
      fetching = undefined
    }
  }

  return {
    async ready(count) {
      while (left() < count + blockSize / 2) {
        fetching ??= fetch(count + blockSize / 2)
        // The reserve is filled behind the caller's back while there is enough.
        if (left() >= count) {
          fetching.catch(() => {})
          return
        }
        await fetching
      }
    },
    take() {
      const block = blocks[0]
      if (block === undefined) throw new Error('numbers were taken without asking for them')
      const number = block.next++
      if (block.next === block.end) blocks.shift()
      return number
    },
  }
}
