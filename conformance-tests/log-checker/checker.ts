import type { ChildProcess } from 'node:child_process'
import { createDatabase, type Database } from '../../homeserver/database/database.ts'
import { CheckClient, type ClientFindings, type ClientLimits } from './client.ts'
import {
  type FaultCounts,
  type FaultPlan,
  killBackends,
  killListeners,
  pauseProcess,
  sleep,
} from './faults.ts'
import { startLossyProxy } from './lossy-proxy.ts'
import type { Report, WorkerSettings } from './protocol.ts'
import { readUntil } from './reader.ts'
import { createCheckTables } from './schema.ts'
import { type TailReport, verify } from './verify.ts'
import { startWorker, type WorkerProcess } from './worker-process.ts'

/**
 * Drives writes from two processes while things break, and finds out whether the log keeps its word: no acknowledged
 * write missing or twice, no row seen late, order kept in every room, no stall over five seconds.
 */

export interface CheckSettings {
  /** A migrated database of its own. */
  readonly databaseUrl: string
  /** A Redis to use as the bus, with its process when it may be stopped. */
  readonly redis?: { readonly url: string; readonly child: ChildProcess }
  /** At least so many writes; more when the faults need longer. */
  readonly writes: number
  readonly faults: FaultPlan
  readonly client: ClientLimits
  readonly note?: (line: string) => void
}

export interface CheckResult {
  /** What does not hold; empty when the log kept its word. */
  readonly wrong: readonly string[]
  readonly writes: number
  readonly seconds: number
  readonly faults: FaultCounts
  readonly stallMs: number
  readonly stallRoom: number
  readonly stalls: ClientFindings['stalls']
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number }
  readonly verdicts: Readonly<Record<string, number>>
}

export const stallMaxMs = 5_000
const workersCount = 2
const startsMax = 5

export async function checkLog(settings: CheckSettings): Promise<CheckResult> {
  const { databaseUrl, note = () => {} } = settings
  await using db = createDatabase({
    url: databaseUrl,
    applicationName: 'checker',
    connections: 4,
    transactionMs: 7_200_000,
  })
  await createCheckTables(db)
  await using proxy = await startLossyProxy(databaseUrl, settings.faults.loseAnswerEveryMs)
  const run = new Run(settings, db, proxy.url)
  let ended = false
  const reader = readUntil(db, () => ended)
  const holder = holdTransaction(db, () => ended)
  const startedAt = performance.now()
  await run.start()
  await run.breakThings()
  await run.drain()
  const seconds = (performance.now() - startedAt) / 1_000
  note(`${run.client.sent} writes in ${seconds.toFixed(1)} s; verifying`)
  const tails = await run.finish()
  ended = true
  await holder
  const found = {
    client: run.client.findings,
    requests: run.client.sent,
    free: run.free,
    reader: await reader,
    tails,
  }
  const wrong = [...run.wrong, ...(await verify(db, found))]
  const { stallMs, stallRoom, stalls, latencies } = run.client.findings
  if (stallMs > stallMaxMs)
    wrong.push(`room ${stallRoom} stood still for ${Math.round(stallMs)} ms`)
  const verdicts: Record<string, number> = {}
  for (const tail of tails) {
    for (const [kind, count] of Object.entries(tail.verdicts))
      verdicts[kind] = (verdicts[kind] ?? 0) + count
  }
  return {
    wrong,
    writes: run.client.sent,
    seconds,
    faults: { ...run.counts, answersLost: proxy.lost },
    stallMs,
    stallRoom,
    stalls,
    latencyMs: percentiles(latencies),
    verdicts,
  }
}

/** A snapshot and a transaction id that stay open for the whole run. */
async function holdTransaction(db: Database, ended: () => boolean): Promise<void> {
  await db.transaction(async (tx) => {
    await tx.query('set transaction isolation level repeatable read', [])
    await tx.query('select pg_current_xact_id(), count(*) from log', [])
    while (!ended()) await sleep(100)
    const rows = await tx.query<{ count: number }>('select count(*)::int as count from log', [])
    if (rows[0]?.count !== 0) throw new Error('the old snapshot has moved')
  })
}

class Run {
  readonly client: CheckClient
  readonly counts: FaultCounts = {
    workersKilled: 0,
    workersStopped: 0,
    busStopped: 0,
    backendsKilled: 0,
    answersLost: 0,
  }
  readonly wrong: string[] = []
  /** Positions of answered writes without a key, by worker and number. */
  readonly free = new Map<string, number>()
  readonly #settings: CheckSettings
  readonly #db: Database
  readonly #workersUrl: string
  readonly #workers: WorkerProcess[] = []
  readonly #tails: TailReport[] = []
  readonly #pulse: NodeJS.Timeout

  constructor(settings: CheckSettings, db: Database, workersUrl: string) {
    this.#workersUrl = workersUrl
    this.#settings = settings
    this.#db = db
    this.client = new CheckClient(settings.client)
    this.#pulse = setInterval(() => this.#beat(), 20)
  }

  async start(): Promise<void> {
    await Promise.all(Array.from({ length: workersCount }, () => this.#startWorker()))
  }

  /** Goes through the faults one after the other; backends die beside them. */
  async breakThings(): Promise<void> {
    const { faults } = this.#settings
    const stopKilling = this.#killBackendsBeside()
    for (let round = 0; round < faults.rounds || this.#writesLeft(); round++) {
      await sleep(faults.pauseMs)
      await this.#killWorker()
      await sleep(faults.pauseMs)
      await this.#stopWorker()
      await sleep(faults.pauseMs)
      await this.#stopBus()
    }
    await sleep(faults.pauseMs)
    this.client.closed = true
    await stopKilling()
  }

  #writesLeft(): boolean {
    return this.client.sent < this.#settings.writes
  }

  /** Waits until every request is answered. */
  async drain(): Promise<void> {
    const deadline = performance.now() + 60_000
    while (this.client.open > 0 && performance.now() < deadline) await sleep(20)
    clearInterval(this.#pulse)
  }

  async finish(): Promise<TailReport[]> {
    const alive = this.#workers.filter((worker) => !worker.dead)
    for (const worker of alive) worker.send({ type: 'finish' })
    const ended = Promise.all(alive.map(({ exited }) => exited))
    await Promise.race([ended, sleep(20_000)])
    for (const worker of this.#workers) if (!worker.dead) worker.child.kill('SIGKILL')
    await ended
    if (this.#tails.length < alive.length) this.wrong.push('a worker did not end in order')
    return this.#tails
  }

  #beat(): void {
    this.client.pump(this.#workers)
    this.client.retry(this.#workers)
  }

  /** Starts a worker as a supervisor does: one that dies before it is ready is started again. */
  async #startWorker(): Promise<void> {
    const { redis, client } = this.#settings
    const settings: WorkerSettings = {
      databaseUrl: this.#workersUrl,
      redisUrl: redis?.url,
      rooms: client.rooms,
    }
    for (let attempt = 1; attempt <= startsMax; attempt++) {
      const worker = startWorker(settings, (from, report) => this.#onReport(from, report))
      await Promise.race([worker.ready, worker.exited])
      if (worker.dead) continue
      this.#workers.push(worker)
      return
    }
    throw new Error('a worker does not start')
  }

  #onReport(worker: WorkerProcess, report: Report): void {
    switch (report.type) {
      case 'ready':
        return
      case 'done':
        this.client.answered(worker, report.acks)
        this.client.pump([worker])
        return
      case 'free':
        for (let at = 0; at < report.acks.length; at += 2) {
          this.free.set(`${report.self} ${report.acks[at]}`, report.acks[at + 1] ?? 0)
        }
        return
      case 'wrong':
        this.wrong.push(report.what)
        return
      case 'finished':
        this.#tails.push(report)
        return
      default:
        report satisfies never
    }
  }

  async #killWorker(): Promise<void> {
    const victim = this.#anyWorker()
    victim.child.kill('SIGKILL')
    await victim.exited
    this.#workers.splice(this.#workers.indexOf(victim), 1)
    this.client.lost(victim)
    this.counts.workersKilled += 1
    this.#settings.note?.('a worker was killed')
    await sleep(this.#settings.faults.pauseMs)
    await this.#startWorker()
  }

  async #stopWorker(): Promise<void> {
    const victim = this.#anyWorker()
    victim.stopped = true
    victim.child.kill('SIGSTOP')
    this.#settings.note?.('a worker was stopped')
    await sleep(this.#settings.faults.workerStopMs)
    victim.child.kill('SIGCONT')
    victim.stopped = false
    this.counts.workersStopped += 1
  }

  async #stopBus(): Promise<void> {
    const { redis, faults } = this.#settings
    this.#settings.note?.('the bus was stopped')
    if (redis === undefined) await killListeners(this.#db, faults.busStopMs)
    else await pauseProcess(redis.child, faults.busStopMs)
    this.counts.busStopped += 1
  }

  #killBackendsBeside(): () => Promise<void> {
    let stopped = false
    const killing = (async () => {
      for (let n = 1; !stopped; n++) {
        await sleep(this.#settings.faults.killBackendsEveryMs)
        this.counts.backendsKilled += await killBackends(this.#db, n % 5 === 0).catch(() => 0)
      }
    })()
    return async () => {
      stopped = true
      await killing
    }
  }

  #anyWorker(): WorkerProcess {
    const worker = this.#workers[Math.floor(Math.random() * this.#workers.length)]
    if (worker === undefined) throw new Error('no worker is left')
    return worker
  }
}

function percentiles(latencies: number[]): CheckResult['latencyMs'] {
  const sorted = Float64Array.from(latencies).sort()
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
  return { p50: at(0.5), p99: at(0.99), max: at(1) }
}
