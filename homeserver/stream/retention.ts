import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import { pruneBatches, pruneLog, pruneOnce } from './queries.ts'

export const retentionLimits = {
  /** How long rows of the log are kept; older tokens are answered from the tables of each kind. */
  logMs: 7 * 24 * 3_600_000,
  /** How long a key is remembered. */
  onceMs: 24 * 3_600_000,
  /** How long the answer of a batch is kept; a writer asks for it within minutes. */
  batchesMs: 3_600_000,
  everyMs: 60_000,
  rowsPerStatement: 2_000,
  statementsPerRound: 50,
} as const

/** Deletes what is older than its time in small statements, every minute, when `isOurs` says that it is our turn. */
export function createRetention({
  db,
  clock,
  log,
  isOurs,
  logMs = retentionLimits.logMs,
}: {
  db: Database
  clock: Clock
  log: Logger
  isOurs: () => boolean
  logMs?: number
}): AsyncDisposable & { prune(): Promise<number> } {
  const prunings = [
    [pruneLog, logMs],
    [pruneOnce, retentionLimits.onceMs],
    [pruneBatches, retentionLimits.batchesMs],
  ] as const
  let running: Promise<unknown> | undefined
  let stopped = false

  /** Answers how many rows went. */
  async function prune(): Promise<number> {
    let total = 0
    for (const [pruneOne, ageMs] of prunings) {
      for (let round = 0; round < retentionLimits.statementsPerRound && !stopped; round++) {
        const gone = await pruneOne(db, ageMs, retentionLimits.rowsPerStatement)
        total += gone
        if (gone < retentionLimits.rowsPerStatement) break
      }
    }
    return total
  }

  const ticker = clock.every(retentionLimits.everyMs, () => {
    if (running !== undefined || !isOurs()) return
    running = prune()
      .catch((error: unknown) => log.warn({ error }, 'log could not be pruned'))
      .finally(() => {
        running = undefined
      })
  })
  return {
    prune,
    async [Symbol.asyncDispose]() {
      stopped = true
      ticker[Symbol.dispose]()
      await running
    },
  }
}
