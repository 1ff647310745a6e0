import cluster, { type Worker } from 'node:cluster'
import { AggregatorRegistry } from 'prom-client'
import type { z } from 'zod'
import type { Config } from '../config.ts'
import type { Logger } from '../platform/log.ts'
import { metricsHandler } from './health.ts'
import { listenForMetrics } from './listeners.ts'
import { graceMs } from './signals.ts'
import { databaseVariable, slotVariable, WorkerReady } from './worker.ts'

/** A parent that only supervises: it owns the port, and starts again what dies. */
export interface Supervisor {
  /** What the first worker said. */
  readonly first: z.output<typeof WorkerReady>
  stop(): Promise<void>
}

/** A worker that lived shorter is started again only after a wait, longer each time. */
const shortLifeMs = 10_000
const restartMs = 200
const restartMaxMs = 10_000

/** Starts the workers; resolves when all serve. Rejects when one dies before that. */
export async function supervise(
  config: Config,
  databaseUrl: string,
  log: Logger,
): Promise<Supervisor> {
  const workers = new Set<Worker>()
  let stopping = false
  let waitMs = restartMs

  function fork(slot: number): Promise<z.output<typeof WorkerReady>> {
    const worker = cluster.fork({ [databaseVariable]: databaseUrl, [slotVariable]: slot })
    const bornAt = Date.now()
    workers.add(worker)
    return new Promise((resolve, reject) => {
      worker.on('message', (message: unknown) => {
        const ready = WorkerReady.safeParse(message)
        if (ready.success) resolve(ready.data)
      })
      worker.once('exit', (code, signal) => {
        workers.delete(worker)
        reject(new Error(`a worker ended before it served (${signal ?? `status ${code}`})`))
        if (!stopping && started) restart(slot, bornAt, code, signal)
      })
    })
  }

  function restart(slot: number, bornAt: number, code: number, signal: string): void {
    const quick = Date.now() - bornAt < shortLifeMs
    waitMs = quick ? Math.min(waitMs * 2, restartMaxMs) : restartMs
    log.error({ code, signal, waitMs }, 'a worker died, starting another')
    setTimeout(() => {
      // Its own death is handled where it is noticed.
      if (!stopping) fork(slot).catch(() => {})
    }, waitMs)
  }

  async function stop(): Promise<void> {
    stopping = true
    for (const worker of workers) worker.process.kill('SIGTERM')
    const deadline = Date.now() + config.drainMs + graceMs / 2
    while (workers.size > 0 && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    for (const worker of workers) worker.process.kill('SIGKILL')
  }

  let started = false
  try {
    const all = await Promise.all(Array.from({ length: config.workers }, (_, slot) => fork(slot)))
    started = true
    const aggregate = new AggregatorRegistry()
    await listenForMetrics(
      config,
      metricsHandler(() => aggregate.clusterMetrics()),
    )
    const [first] = all
    if (first === undefined) throw new Error('no workers')
    return { first: { ...first, ...firstAdmin(all) }, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Every worker made a token; one is enough to print. */
function firstAdmin(all: readonly z.output<typeof WorkerReady>[]): { firstAdminToken?: string } {
  const token = all.find(({ firstAdminToken }) => firstAdminToken)?.firstAdminToken
  return token === undefined ? {} : { firstAdminToken: token }
}
