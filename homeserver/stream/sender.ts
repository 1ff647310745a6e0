import type { Database } from '../database/database.ts'
import { DatabaseError } from '../database/database-error.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Random } from '../platform/random.ts'
import { BatchAnswer, type EncodedWrite, encodeBatch } from './batch.ts'
import { type BatchTexts, commitBatch, releaseStalledLock } from './queries.ts'

/** Brings one batch at a time to the database, however often the connection is lost. */

export const senderLimits = {
  /** A commit that takes longer makes us look for a paused holder of the lock. */
  stalledMs: 1_500,
  /** A batch that is cancelled for its time this often counts as one that raises. */
  timeoutsMax: 3,
  retryMinMs: 20,
  retryMaxMs: 500,
  /** What one attempt counts at most as time without an outcome: a process that was paused has not been trying. */
  attemptMs: 6_000,
} as const

interface Needs {
  readonly db: Database
  readonly clock: Clock
  readonly log: Logger
  readonly random: Random
  /** Id of this process. */
  readonly self: string
  /** Has the commit notify the other processes. */
  readonly notifies: () => boolean
  /** Called after each failed attempt with the time for which the outcome has been unknown. */
  readonly onUnknown: (forMs: number) => void
  /** Ends the attempts. */
  readonly stop: AbortSignal
}

export class BatchSender {
  readonly #needs: Needs
  /** Begins the ids of our batches; no other sender has it. */
  readonly #prefix: string
  #batches = 0

  constructor(needs: Needs) {
    this.#needs = needs
    this.#prefix = `${needs.self}.${needs.random.text(8)}`
  }

  /** The answer of the database; what it raised; undefined when stopped before the outcome was known. */
  async send(writes: readonly EncodedWrite[]): Promise<BatchAnswer | DatabaseError | undefined> {
    const { self, clock, log, notifies, onUnknown, stop } = this.#needs
    const id = `${this.#prefix}.${++this.#batches}`
    const batch = { id, process: self, ...encodeBatch(writes), notify: notifies() }
    let timeouts = 0
    let unknownForMs = 0
    for (let waitMs: number = senderLimits.retryMinMs; ; waitMs = longer(waitMs)) {
      const sentAt = clock.now()
      try {
        return BatchAnswer.parse(await this.#commit(batch))
      } catch (error) {
        if (!(error instanceof DatabaseError)) throw error
        if (error.code === queryCanceled) timeouts += 1
        if (isPoison(error) || timeouts >= senderLimits.timeoutsMax) return error
        log.warn({ error, batch: id, writes: writes.length }, 'batch is sent again')
        unknownForMs += waitMs + Math.min(clock.now() - sentAt, senderLimits.attemptMs)
        onUnknown(unknownForMs)
        await clock.sleep(waitMs, stop).catch(() => {})
        if (stop.aborted) return undefined
      }
    }
  }

  /** One attempt; frees the log's lock from a paused process when it takes too long. */
  async #commit(batch: BatchTexts): Promise<unknown> {
    const { db, clock, log } = this.#needs
    using _ = clock.every(senderLimits.stalledMs, () => {
      releaseStalledLock(db).then(
        (released) => {
          if (released > 0) log.warn({ released }, 'paused holder of the log was ended')
        },
        (error: unknown) => log.warn({ error }, 'holder of the log is unknown'),
      )
    })
    return await commitBatch(db, batch)
  }
}

function longer(waitMs: number): number {
  return Math.min(waitMs * 2, senderLimits.retryMaxMs)
}

const queryCanceled = '57014'

/**
 * SQLSTATE classes of errors that a batch brings upon itself: bad data (22), violated constraints (23), missing
 * functions and columns (42), raised errors (P0), limits of the server (54), what is not supported (0A, 0F), internal
 * errors (XX). Others, and errors without a code, pass: the same batch is sent again.
 */
const poisonClasses = new Set(['0A', '0F', '21', '22', '23', '42', '44', '54', 'P0', 'XX'])

function isPoison(error: DatabaseError): boolean {
  return error.kind === 'refused' && poisonClasses.has(error.code?.slice(0, 2) ?? '')
}
