import { AggregatorRegistry } from 'prom-client'
import type { Config } from '../config.ts'
import { createDatabase, type Database } from '../database/database.ts'
import { systemClock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import { createMetrics, type Metrics } from '../platform/metrics.ts'
import { systemRandom } from '../platform/random.ts'
import { type Assembled, assemble } from './assemble.ts'
import { createReadiness, metricsHandler, withHealth } from './health.ts'
import { type Listener, listenForClients, listenForMetrics, listenForServers } from './listeners.ts'
import { openOurs } from './prepare.ts'
import { version } from './version.ts'

/** What it takes to serve. */
export interface ServeOptions {
  readonly config: Config
  readonly databaseUrl: string
  readonly log: Logger
  /** One of several workers: the parent collects the metrics. */
  readonly isWorker: boolean
}

/** A process that answers requests. */
export interface Serving {
  readonly clientUrl: string
  readonly federationUrl: string | undefined
  /** Token of a link that makes the first administrator; undefined when there is one. */
  createFirstAdminToken(): Promise<string | undefined>
  /** Lets requests under way finish within `drainMs`, then lets everything go. */
  stop(): Promise<void>
}

/** Builds the house on a prepared database and opens its doors. */
export async function serve(options: ServeOptions): Promise<Serving> {
  const { config } = options
  const stopping = new AbortController()
  const db = createDatabase({
    url: options.databaseUrl,
    connections: config.databaseConnections,
    statementMs: config.databaseStatementMs,
  })
  const metrics = createMetrics()
  const house = await build(options, db, metrics, stopping.signal)
  await house.start()
  const listeners = await open(options, house, metrics, createReadiness(db, stopping.signal))
  const { client, federation, ops } = listeners

  return {
    clientUrl: client.url,
    federationUrl: federation?.url,
    createFirstAdminToken: async () => {
      const { accounts } = house
      if (await accounts.hasAdmin()) return undefined
      return await accounts.createAdminInvite()
    },
    stop: async () => {
      stopping.abort()
      await Promise.all([client.close(config.drainMs), federation?.close(config.drainMs)])
      await house[Symbol.asyncDispose]()
      await db[Symbol.asyncDispose]()
      await ops?.close(0)
    },
  }
}

/** The house without its doors, also for the command line. */
export async function build(
  options: Pick<ServeOptions, 'config' | 'databaseUrl' | 'log'>,
  db: Database,
  metrics: Metrics,
  stopping: AbortSignal,
): Promise<Assembled> {
  return await assemble({
    config: options.config,
    databaseUrl: options.databaseUrl,
    db,
    instance: await openOurs(options.config, db),
    log: options.log,
    metrics,
    version,
    clock: systemClock,
    random: systemRandom,
    stopping,
  })
}

interface Doors {
  readonly client: Listener
  readonly federation: Listener | undefined
  readonly ops: Listener | undefined
}

async function open(
  { config, isWorker }: ServeOptions,
  house: Assembled,
  metrics: Metrics,
  readiness: ReturnType<typeof createReadiness>,
): Promise<Doors> {
  if (isWorker) {
    AggregatorRegistry.setRegistries([metrics.registry])
    // Its constructor makes this worker answer the parent.
    new AggregatorRegistry()
  }
  const client = await listenForClients(config, withHealth(readiness, house.client))
  const federation = await listenForServers(config, house.federation)
  const ops = isWorker
    ? undefined
    : await listenForMetrics(
        config,
        withHealth(
          readiness,
          metricsHandler(() => metrics.registry.metrics()),
        ),
      )
  return { client, federation, ops }
}
