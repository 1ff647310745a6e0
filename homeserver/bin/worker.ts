import process from 'node:process'
import { z } from 'zod'
import type { Config } from '../config.ts'
import type { Logger } from '../platform/log.ts'
import { serve } from './serve.ts'
import { stopOnSignal } from './signals.ts'

/** What a worker tells its parent when its doors are open. */
export const WorkerReady = z.object({
  ready: z.literal(true),
  clientUrl: z.string(),
  federationUrl: z.string().optional(),
  firstAdminToken: z.string().optional(),
})

/** The variable in which a worker finds the database that its parent prepared. */
export const databaseVariable = 'WORKER_DATABASE_URL'

/** The variable with a worker's place among its siblings, from 0; whoever replaces a dead one takes its place. */
export const slotVariable = 'WORKER_SLOT'

/** Runs one of several processes that serve; the parent tells it when to stop. */
export async function runWorker(settings: Config, log: Logger): Promise<void> {
  // Each needs an internal port of its own, next to each other when the first is given.
  const slot = Number(process.env[slotVariable] ?? 0)
  const internalPort = settings.internalPort === 0 ? 0 : settings.internalPort + slot
  const config: Config = { ...settings, internalPort }
  const databaseUrl = process.env[databaseVariable] ?? config.databaseUrl
  const serving = await serve({ config, databaseUrl, log, isWorker: true })
  const stop = stopOnSignal(['SIGTERM'], config.drainMs, log, () => serving.stop())
  // Ctrl-C reaches parent and children alike: the parent decides.
  process.on('SIGINT', () => {})
  // The parent is gone, and with it the port.
  process.on('disconnect', stop)
  const firstAdminToken = await serving.createFirstAdminToken()
  process.send?.({
    ready: true,
    clientUrl: serving.clientUrl,
    federationUrl: serving.federationUrl,
    firstAdminToken,
  })
}
