import type { JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Random } from '../platform/random.ts'
import type { LogWrite, LogWriter } from '../stream/log.ts'
import { extendLeases, returnJob, type TakenJob, takeJobs } from './queries.ts'

/**
 * What must happen after a commit: a row of the same commit, taken by whichever process is free, tried again until it
 * succeeds. A job's effect and its completion are one log write keyed by the job's id: it has its effect once, also when
 * a paused process wakes up in the middle of it.
 */

export const jobLimits = {
  /** Jobs that one process works on at a time. */
  concurrent: 16,
  /** A job is another's when its worker was silent for this long. */
  leaseMs: 30_000,
  renewMs: 10_000,
  /** How often due jobs are looked for without a hint. */
  pollMs: 1_000,
  attemptsMax: 20,
  backoffMinMs: 1_000,
  backoffMaxMs: 3_600_000,
  errorChars: 500,
} as const

/** A job as its handler gets it. */
export interface Job {
  readonly id: string
  readonly payload: JsonObject
  readonly attempts: number
}

/** Does the job and answers its effect, to be written with the completion. A rejection means: try again later. */
export type JobHandler = (job: Job) => Promise<Omit<LogWrite, 'once'> | undefined>

export interface Jobs extends AsyncDisposable {
  /** A row for `tables: { jobs: [row] }` of the write that brings the job about. */
  row(kind: string, payload: JsonObject, options?: { id?: string; runAtMs?: number }): JsonObject
  /** One handler per kind, set before the start. */
  handle(kind: string, handler: JobHandler): void
  start(): void
  /** Due jobs have been written: look for them now. */
  wake(): void
}

interface Needs {
  readonly db: Database
  readonly writer: LogWriter
  readonly clock: Clock
  readonly log: Logger
  readonly random: Random
}

export function createJobs(needs: Needs): Jobs {
  return new JobRunner(needs)
}

class JobRunner implements Jobs {
  readonly #needs: Needs
  readonly #handlers = new Map<string, JobHandler>()
  readonly #inWork = new Map<string, Promise<void>>()
  readonly #tickers: Disposable[] = []
  #looking: Promise<void> | undefined
  #lookAgain = false
  #stopped = false

  constructor(needs: Needs) {
    this.#needs = needs
  }

  readonly row: Jobs['row'] = (kind, payload, options = {}) => {
    const { random, clock } = this.#needs
    const { id = random.text(16), runAtMs = clock.now() } = options
    return { id, kind, payload, run_at_ms: Math.floor(runAtMs) }
  }

  handle(kind: string, handler: JobHandler): void {
    if (this.#handlers.has(kind)) throw new Error(`jobs of kind ${kind} have a handler`)
    this.#handlers.set(kind, handler)
  }

  start(): void {
    const { clock } = this.#needs
    this.#tickers.push(
      clock.every(jobLimits.pollMs, this.wake),
      clock.every(jobLimits.renewMs, () => this.#extendLeases()),
    )
    this.wake()
  }

  readonly wake = (): void => {
    this.#lookAgain = true
    if (this.#stopped || this.#tickers.length === 0) return
    this.#looking ??= this.#look()
      .catch((error: unknown) => this.#needs.log.warn({ error }, 'jobs could not be taken'))
      .finally(() => {
        this.#looking = undefined
      })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true
    for (const ticker of this.#tickers) ticker[Symbol.dispose]()
    await this.#looking
    await Promise.all(this.#inWork.values())
  }

  async #look(): Promise<void> {
    while (this.#lookAgain && !this.#stopped) {
      this.#lookAgain = false
      const free = jobLimits.concurrent - this.#inWork.size
      if (free <= 0) return
      const kinds = [...this.#handlers.keys()]
      const taken = await takeJobs(this.#needs.db, kinds, jobLimits.leaseMs, free)
      for (const job of taken) this.#inWork.set(job.id, this.#work(job))
      if (taken.length === free) this.#lookAgain = true
    }
  }

  #extendLeases(): void {
    const { db, log } = this.#needs
    if (this.#inWork.size === 0) return
    extendLeases(db, [...this.#inWork.keys()], jobLimits.leaseMs).catch((error: unknown) => {
      log.warn({ error }, 'leases of jobs could not be extended')
    })
  }

  /** Never rejects. */
  async #work(job: TakenJob): Promise<void> {
    try {
      await this.#finish(job, await this.#handlers.get(job.kind)?.(job))
    } catch (error) {
      await this.#giveBack(job, error)
    } finally {
      this.#inWork.delete(job.id)
      this.wake()
    }
  }

  async #finish(job: TakenJob, effect: Omit<LogWrite, 'once'> | undefined): Promise<void> {
    const verdict = await this.#needs.writer.write({
      ...effect,
      entries: effect?.entries ?? [],
      once: { scope: 'job', key: job.id, answer: '' },
      tables: { ...effect?.tables, jobs_done: [{ id: job.id }] },
    })
    if (verdict.kind !== 'done' && verdict.kind !== 'duplicate') {
      throw new Error(verdict.kind === 'refused' ? verdict.message : verdict.kind)
    }
  }

  async #giveBack({ id, kind, attempts }: TakenJob, error: unknown): Promise<void> {
    const { db, log } = this.#needs
    const isDead = attempts >= jobLimits.attemptsMax
    if (isDead) log.error({ error, job: id, kind, attempts }, 'job is given up')
    else log.warn({ error, job: id, kind, attempts }, 'job failed')
    const message = error instanceof Error ? error.message : String(error)
    const delayMs = Math.min(jobLimits.backoffMinMs * 2 ** (attempts - 1), jobLimits.backoffMaxMs)
    const reason = message.slice(0, jobLimits.errorChars)
    await returnJob(db, id, delayMs, reason, isDead).catch((failure: unknown) => {
      log.warn({ error: failure, job: id }, 'job waits for the end of its lease')
    })
  }
}
