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

/** Runs one of several processes that serve; the parent tells it when to stop. */
export async function runWorker(config: Config, log: Logger): Promise<void> {
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
