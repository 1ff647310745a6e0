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

export function createJobs({ db, writer, clock, log, random }: Needs): Jobs {
  const handlers = new Map<string, JobHandler>()
  const inWork = new Map<string, Promise<void>>()
  const tickers: Disposable[] = []
  let looking: Promise<void> | undefined
  let again = false
  let stopped = false

  async function look(): Promise<void> {
    do {
      again = false
      const free = jobLimits.concurrent - inWork.size
      if (stopped || free <= 0) return
      const taken = await takeJobs(db, [...handlers.keys()], jobLimits.leaseMs, free)
      for (const job of taken) inWork.set(job.id, work(job))
      if (taken.length === free) again = true
    } while (again)
  }

  function wake(): void {
    again = true
    if (stopped || tickers.length === 0) return
    looking ??= look()
      .catch((error: unknown) => log.warn({ error }, 'jobs could not be taken'))
      .finally(() => {
        looking = undefined
      })
  }

  /** Never rejects. */
  async function work(job: TakenJob): Promise<void> {
    try {
      await finish(job, await handlers.get(job.kind)?.(job))
    } catch (error) {
      await giveBack(job, error)
    } finally {
      inWork.delete(job.id)
      wake()
    }
  }

  async function finish(job: TakenJob, effect: Omit<LogWrite, 'once'> | undefined): Promise<void> {
    const verdict = await writer.write({
      ...effect,
      entries: effect?.entries ?? [],
      once: { scope: 'job', key: job.id, answer: '' },
      tables: { ...effect?.tables, jobs_done: [{ id: job.id }] },
    })
    if (verdict.kind !== 'done' && verdict.kind !== 'duplicate') {
      throw new Error(verdict.kind === 'refused' ? verdict.message : verdict.kind)
    }
  }

  async function giveBack(job: TakenJob, error: unknown): Promise<void> {
    const message = error instanceof Error ? error.message : String(error)
    const dead = job.attempts >= jobLimits.attemptsMax
    const delayMs = Math.min(
      jobLimits.backoffMinMs * 2 ** (job.attempts - 1),
      jobLimits.backoffMaxMs,
    )
    const fields = { error, job: job.id, kind: job.kind, attempts: job.attempts }
    if (dead) log.error(fields, 'job is given up')
    else log.warn(fields, 'job failed')
    const text = message.slice(0, jobLimits.errorChars)
    await returnJob(db, job.id, delayMs, text, dead).catch((failure: unknown) => {
      log.warn({ error: failure, job: job.id }, 'job waits for the end of its lease')
    })
  }

  return {
    row: (kind, payload, { id = random.text(16), runAtMs = clock.now() } = {}) => ({
      id,
      kind,
      payload,
      run_at_ms: Math.floor(runAtMs),
    }),
    handle(kind, handler) {
      if (handlers.has(kind)) throw new Error(`jobs of kind ${kind} have a handler`)
      handlers.set(kind, handler)
    },
    start() {
      tickers.push(
        clock.every(jobLimits.pollMs, wake),
        clock.every(jobLimits.renewMs, () => {
          if (inWork.size === 0) return
          extendLeases(db, [...inWork.keys()], jobLimits.leaseMs).catch((error: unknown) => {
            log.warn({ error }, 'leases of jobs could not be extended')
          })
        }),
      )
      wake()
    },
    wake,
    async [Symbol.asyncDispose]() {
      stopped = true
      for (const ticker of tickers) ticker[Symbol.dispose]()
      await looking
      await Promise.all(inWork.values())
    },
  }
}
