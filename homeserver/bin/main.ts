import cluster from 'node:cluster'
import process from 'node:process'
import { ConfigError, loadConfig } from '../config.ts'
import { DataDirectoryInUse } from '../database/embedded-postgres.ts'
import { MigrationError } from '../database/migrate.ts'
import { InstanceError } from '../keys/instance.ts'
import { createLogger, type Logger } from '../platform/log.ts'
import { banner } from './banner.ts'
import { prepare } from './prepare.ts'
import { serve } from './serve.ts'
import { stopOnSignal } from './signals.ts'
import { supervise } from './supervisor.ts'
import { runWorker } from './worker.ts'

/**
 * Starts the server: settings, database, migrations, identity, then one process that serves, or a parent with
 * WORKERS of them. Stops in order on SIGTERM and SIGINT.
 */
async function main(): Promise<void> {
  const { config } = loadConfig(process.env)
  const log = createLogger({ level: config.logLevel })
  if (cluster.isWorker) return await runWorker(config, log.child({ worker: cluster.worker?.id }))

  const prepared = await prepare(config, log)
  const { databaseUrl, isNew } = prepared
  if (config.workers > 1) {
    const supervisor = await supervise(config, databaseUrl, log)
    stopOnSignal(['SIGTERM', 'SIGINT'], config.drainMs, log, async () => {
      await supervisor.stop()
      await prepared[Symbol.asyncDispose]()
    })
    process.stdout.write(banner(config, supervisor.first, isNew))
    return
  }
  const serving = await serve({ config, databaseUrl, log, isWorker: false })
  stopOnSignal(['SIGTERM', 'SIGINT'], config.drainMs, log, async () => {
    await serving.stop()
    await prepared[Symbol.asyncDispose]()
  })
  const firstAdminToken = await serving.createFirstAdminToken()
  process.stdout.write(banner(config, { ...serving, firstAdminToken }, isNew))
}

/** Errors that the operator can do something about are told in words, all others with their stack. */
function explain(error: unknown): string {
  if (error instanceof ConfigError)
    return `Folkmoot cannot start with these settings:\n${error.message}`
  const known =
    error instanceof DataDirectoryInUse ||
    error instanceof InstanceError ||
    error instanceof MigrationError
  if (known) return `Folkmoot cannot start: ${error.message}`
  return `Folkmoot cannot start: ${error instanceof Error ? (error.stack ?? error.message) : error}`
}

/** A defect that nobody caught: say so and end; the log is durable, and whoever started us starts us again. */
function endOnDefect(log: Logger): void {
  process.on('uncaughtException', (error) => {
    log.error({ error }, 'uncaught error, ending')
    process.exit(1)
  })
}

endOnDefect(createLogger({ level: 'error' }))
main().catch((error: unknown) => {
  process.stderr.write(`${explain(error)}\n`)
  process.exit(1)
})
