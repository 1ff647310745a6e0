import { readFileSync } from 'node:fs'
import type { RequestListener } from 'node:http'
import { createClientApi } from '../../client-api/client-api.ts'
import type { ClientApiConfig } from '../../client-api/needs.ts'
import { createFederation } from '../../federation/federation.ts'
import { createLocalMedia } from '../../federation/local-media.ts'
import { createOutbound } from '../../federation/outbound.ts'
import { isServerName } from '../../spec/ids.ts'
import type { Accounts } from '../accounts/accounts.ts'
import { registerSenders } from '../appservices/senders.ts'
import { createHomeserver, type Homeserver } from '../compose.ts'
import { type Config, ConfigError } from '../config.ts'
import type { Database } from '../database/database.ts'
import type { Instance } from '../keys/instance.ts'
import type { KeysOfServer } from '../keys/remote-keys.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Metrics } from '../platform/metrics.ts'
import type { Random } from '../platform/random.ts'
import { proxiesOf } from '../platform/trusted-proxies.ts'

/** What every process of ours has before its slices. */
export interface Foundation {
  readonly config: Config
  readonly databaseUrl: string
  readonly db: Database
  readonly instance: Instance
  readonly log: Logger
  readonly clock: Clock
  readonly random: Random
  readonly metrics: Metrics
  /** Aborted when the process begins to stop: waiting requests are answered at once. */
  readonly stopping: AbortSignal
  /** Version of this program. */
  readonly version: string
}

/** The house with its two doors. */
export interface Assembled extends AsyncDisposable {
  readonly client: RequestListener
  readonly federation: RequestListener
  readonly accounts: Pick<Accounts, 'register' | 'hasAdmin' | 'createAdminInvite'>
  /** Becomes one of the instance's processes; the command line does without. */
  start(): Promise<void>
}

/** Builds every slice and both borders. */
export async function assemble(foundation: Foundation): Promise<Assembled> {
  const { config, instance, metrics } = foundation
  const { serverName, signingKey: key } = instance
  const outbound = await createOutbound({ ...foundation, settings: outboundSettings(config, key) })
  const house = await createHomeserver({
    ...foundation,
    ...outbound,
    signingKey: key,
    internalSecret: instance.secretFor('processes'),
  })
  measure(metrics, house)
  const federation = createFederation({
    ...foundation,
    ...house.stream,
    serverName,
    key,
    outbound,
    engine: {
      ...house,
      membership: house.remoteMembership,
      media: createLocalMedia({ media: house.media, serverName }),
    },
    limits: {
      bodyBytesMax: config.federationBodySizeBytes,
      jsonDepthMax: config.jsonDepth,
      perServerMax: config.federationRequestsPerServer,
      totalMax: config.federationRequests,
      waitMs: config.federationQueueMs,
    },
    isTrustedProxy: proxiesOf(config.trustedProxies),
    ...(config.federationAddress !== '' && { federationAddress: config.federationAddress }),
    tellsPresence: config.presence && config.federatePresence,
    presenceMembersMax: config.presenceMembersMax,
  })
  const client = createClientApi({
    ...foundation,
    ...house,
    config: clientConfig(config),
    remote: outbound.remote,
    destinations: outbound.destinations.administration,
  })
  return {
    client: client.callback(),
    federation: federation.listener,
    accounts: house.accounts,
    async start() {
      await house.start()
      await federation.start()
      await registerSenders(house.appservices, house.accounts)
    },
    async [Symbol.asyncDispose]() {
      await federation[Symbol.asyncDispose]()
      await house[Symbol.asyncDispose]()
      await outbound[Symbol.asyncDispose]()
    },
  }
}

/** What an operator watches beside the process itself. */
function measure(metrics: Metrics, { stream }: Homeserver): void {
  const { tail, processes } = stream
  metrics.measure(
    'folkmoot_log_position',
    'Newest position of the log seen here',
    () => tail.position,
  )
  metrics.measure(
    'folkmoot_other_processes',
    'Other live processes of this server',
    () => processes.others().length,
  )
}

function outboundSettings(config: Config, key: Instance['signingKey']) {
  return {
    serverName: config.serverName,
    key,
    allowedNetworks: config.federationAllowPrivate,
    peering: { allow: config.federationAllow, deny: config.federationDeny },
    authorities: authoritiesOf(config),
    notaries: config.federationNotaries.filter(isServerName),
    oldKeys: oldKeysOf(config),
    retry: { minMs: config.federationRetryMinMs, maxMs: config.federationRetryMaxMs },
  }
}

function authoritiesOf({ federationCaFile: path }: Config): string[] {
  if (path === '') return []
  try {
    return [readFileSync(path, 'utf8')]
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new ConfigError(`federation_ca_file = ${path}: ${why}`)
  }
}

/** Keys that were used before, by key id. */
function oldKeysOf({ oldVerifyKeys }: Config): KeysOfServer {
  return new Map(
    oldVerifyKeys.map((line) => {
      const [keyId = '', publicKey = '', ended] = line.split(' ')
      const expiredAt = Number(ended)
      return [keyId, { publicKey: publicKey.replace('=', ''), validUntil: expiredAt, expiredAt }]
    }),
  )
}

/** At the border, what is not set is absent. */
function clientConfig({ adminContact, federationAddress, ...config }: Config): ClientApiConfig {
  return {
    ...config,
    ...(adminContact !== '' && { adminContact }),
    ...(federationAddress !== '' && { federationAddress }),
  }
}
