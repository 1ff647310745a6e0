import { createHmac } from 'node:crypto'
import { createDatabase } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Random } from '../platform/random.ts'
import { type Bus, createRedisBus } from '../platform/redis.ts'
import { createAcks } from './acks.ts'
import type { LogWriter } from './log.ts'
import { createPeers, type RunningPeers } from './peers.ts'
import { createPostgresBus } from './postgres-bus.ts'
import { createProcesses, type RunningProcesses } from './processes.ts'
import { createRetention } from './retention.ts'
import { createTail, type RunningTail } from './tail.ts'
import { createLogWriter } from './writer.ts'

/**
 * The log as one process has it: writer, tail, the other processes, the calls between them and the bus, built in order.
 * The loaders of the tail are set between `createStream` and `start`.
 */
export interface Stream extends AsyncDisposable {
  readonly writer: LogWriter
  readonly tail: RunningTail
  readonly processes: RunningProcesses
  readonly peers: RunningPeers
  readonly bus: Bus
  start(): Promise<void>
}

export const streamLimits = {
  /** Connections of the log's own pool: the commit, the tail, the lease and the pruning. */
  connections: 4,
  /** Longest time of one of its statements, in ms. */
  statementMs: 4_000,
} as const

export interface StreamSettings {
  readonly databaseUrl: string
  readonly redisUrl?: string | undefined
  /** The instance's secret; signs the calls between processes and names the Redis channel. */
  readonly secret: string
  /** Where the internal listener binds: a loopback or private address. */
  readonly peerHost: string
  readonly peerPort: number
  readonly logRetentionMs?: number
}

interface Needs {
  readonly settings: StreamSettings
  readonly clock: Clock
  readonly log: Logger
  readonly random: Random
}

export async function createStream({ settings, clock, log, random }: Needs): Promise<Stream> {
  const built: AsyncDisposable[] = []
  const keep = <T extends AsyncDisposable>(part: T): T => {
    built.push(part)
    return part
  }
  const dispose = async () => {
    await release()
    for (const part of built.splice(0).reverse()) await part[Symbol.asyncDispose]()
  }
  const self = random.text(12)
  const { connections, statementMs } = streamLimits
  const url = settings.databaseUrl
  const applicationName = `folkmoot log ${self}`
  const db = keep(
    createDatabase({ url, connections, statementMs, applicationName, acquireMs: statementMs }),
  )
  const { secret, peerHost: host, peerPort: port, redisUrl, logRetentionMs } = settings
  const peers = keep(await createPeers({ clock, log, secret, host, port }))
  const channel = createHmac('sha256', secret).update('redis channel').digest('hex')
  const bus = keep(
    redisUrl === undefined
      ? await createPostgresBus({ db, self, log })
      : await createRedisBus({ url: redisUrl, channel, self, clock, log }),
  )
  const tail = keep(createTail({ db, clock, log, self }))
  const caughtUp = () => tail.catchUp()
  const { address } = peers
  const processes = keep(createProcesses({ db, clock, log, self, address, caughtUp }))
  let started = false
  /** Its rooms go to others first; what it has taken it ends. */
  const release = async () => {
    if (!started) return
    await processes.leave()
    bus.publish('processes', self)
    await peers.retire()
  }
  bus.subscribe('processes', () => processes.look())
  bus.subscribe('log', (position) => tail.hint(Number(position)))
  bus.onGap(() => tail.look())
  processes.onChange(() => tail.look())
  const wake = {
    inCommit: redisUrl === undefined,
    publish: (position: number) => bus.publish('log', String(position)),
  }
  const acks = createAcks({ processes, peers, tail, clock })
  const isOurs = () => processes.ownerOf('log-retention') === undefined
  const logMs = logRetentionMs === undefined ? {} : { logMs: logRetentionMs }
  keep(createRetention({ db, clock, log, isOurs, ...logMs }))
  const writer = keep(createLogWriter({ db, tail, processes, clock, log, random, wake, acks }))
  return {
    writer,
    tail,
    processes,
    peers,
    bus,
    async start() {
      await tail.start()
      await processes.start()
      started = true
      bus.publish('processes', self)
    },
    [Symbol.asyncDispose]: dispose,
  }
}
