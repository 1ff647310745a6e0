import type { Clock } from './clock.ts'
import type { Logger } from './log.ts'

/**
 * The bus between the processes of one server: short messages that may be lost. Whatever matters is in Postgres; the
 * bus only says sooner that it is there.
 */
export interface Bus extends AsyncDisposable {
  /** Sends to all processes, this one not among them. Never throws; a message that cannot go now is dropped. */
  publish(topic: string, message: string): void
  /** Messages of others about `topic`. */
  subscribe(topic: string, onMessage: (message: string) => void): Disposable
  /** Called when messages may have been lost: after each reconnect. */
  onGap(listener: () => void): Disposable
}

/** Listeners of one process by topic; shared by the kinds of bus. */
export interface BusListeners extends Pick<Bus, 'subscribe' | 'onGap'> {
  message(topic: string, message: string): void
  gap(): void
}

export function createBusListeners(): BusListeners {
  const topics = new Map<string, Set<(message: string) => void>>()
  const gaps = new Set<() => void>()
  return {
    subscribe(topic, onMessage) {
      const listeners = topics.get(topic) ?? new Set()
      topics.set(topic, listeners.add(onMessage))
      return { [Symbol.dispose]: () => void listeners.delete(onMessage) }
    },
    onGap(listener) {
      gaps.add(listener)
      return { [Symbol.dispose]: () => void gaps.delete(listener) }
    },
    message(topic, message) {
      for (const listener of topics.get(topic) ?? []) listener(message)
    },
    gap() {
      for (const listener of gaps) listener()
    },
  }
}

/** A bus inside one process: `connect` gives each member its end. For tests. */
export function createMemoryBus(): { connect(): Bus } {
  const members = new Set<BusListeners>()
  return {
    connect() {
      const listeners = createBusListeners()
      members.add(listeners)
      return {
        ...listeners,
        publish(topic, message) {
          for (const member of members) {
            if (member !== listeners) queueMicrotask(() => member.message(topic, message))
          }
        },
        async [Symbol.asyncDispose]() {
          members.delete(listeners)
        },
      }
    },
  }
}

export const redisLimits = {
  connectMs: 3_000,
  /** Longest pause between two attempts to connect, in ms. */
  retryMaxMs: 1_000,
  /** How often the subscriber is asked for a sign of life, in ms. */
  pingMs: 2_000,
  /** A connection that owes an answer for longer is replaced, in ms. */
  silenceMs: 3_000,
} as const

/**
 * A bus over Redis; `channel` names this server among those that share the Redis. Connects by itself and again; while
 * there is no connection messages are dropped. `self` tells our own messages from those of others.
 */
export async function createRedisBus({
  url,
  channel,
  self,
  clock,
  log,
}: {
  url: string
  channel: string
  self: string
  clock: Clock
  log: Logger
}): Promise<Bus> {
  // Most servers have no Redis: they do without loading its client.
  const { Redis } = await import('ioredis')
  const listeners = createBusListeners()
  const options = {
    connectTimeout: redisLimits.connectMs,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (attempts: number) => Math.min(50 * attempts, redisLimits.retryMaxMs),
    socketTimeout: redisLimits.silenceMs,
  }
  const publisher = new Redis(url, options)
  const subscriber = new Redis(url, { ...options, autoResubscribe: false })
  const onError = (error: unknown) => log.warn({ error }, 'redis connection failed')
  publisher.on('error', onError)
  subscriber.on('error', onError)
  subscriber.on('ready', () => {
    subscriber.subscribe(channel).then(() => listeners.gap(), onError)
  })
  subscriber.on('message', (_channel, text) => {
    const message = readEnvelope(text)
    if (message !== undefined && message.from !== self) {
      listeners.message(message.topic, message.text)
    }
  })
  const heartbeat = clock.every(redisLimits.pingMs, () => {
    // A silent connection is ended by the socket's timeout; there is nothing else to do with the failure.
    if (subscriber.status === 'ready') subscriber.ping().catch(() => {})
  })
  return {
    subscribe: listeners.subscribe,
    onGap: listeners.onGap,
    publish(topic, message) {
      if (publisher.status !== 'ready') return
      // A lost message is made up for by whoever reads the log's head.
      publisher.publish(channel, writeEnvelope(self, topic, message)).catch(() => {})
    },
    async [Symbol.asyncDispose]() {
      heartbeat[Symbol.dispose]()
      publisher.disconnect()
      subscriber.disconnect()
    },
  }
}

/** `from topic text`; neither of the first two has a space. */
export function writeEnvelope(from: string, topic: string, text: string): string {
  return `${from} ${topic} ${text}`
}

/** Undefined for what no process of ours wrote. */
export function readEnvelope(
  envelope: string,
): { from: string; topic: string; text: string } | undefined {
  const first = envelope.indexOf(' ')
  const second = envelope.indexOf(' ', first + 1)
  if (first === -1 || second === -1) return undefined
  return {
    from: envelope.slice(0, first),
    topic: envelope.slice(first + 1, second),
    text: envelope.slice(second + 1),
  }
}
