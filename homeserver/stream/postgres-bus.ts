import type { Database } from '../database/database.ts'
import type { Logger } from '../platform/log.ts'
import { type Bus, createBusListeners, readEnvelope, writeEnvelope } from '../platform/redis.ts'
import { notify } from './queries.ts'

export const postgresBusLimits = {
  /** Postgres ends at 8,000 bytes. */
  messageBytes: 7_900,
  /** Messages that wait while one statement is in flight; more are dropped. */
  queued: 1_000,
} as const

/** The channel that `log_commit` notifies on. */
const channel = 'folkmoot'

/** A bus over LISTEN and NOTIFY, for servers without Redis. Rejects when the database does not answer. */
export async function createPostgresBus({
  db,
  self,
  log,
}: {
  db: Database
  self: string
  log: Logger
}): Promise<Bus> {
  const listeners = createBusListeners()
  let queued: string[] = []
  let sending: Promise<void> | undefined
  let stopped = false

  const listener = await db.listen(
    channel,
    (payload) => {
      const message = readEnvelope(payload)
      if (message !== undefined && message.from !== self) {
        listeners.message(message.topic, message.text)
      }
    },
    () => listeners.gap(),
  )

  async function send(): Promise<void> {
    while (queued.length > 0 && !stopped) {
      const messages = queued
      queued = []
      // A lost message is made up for by whoever reads the log's head.
      await notify(db, channel, messages).catch((error: unknown) =>
        log.debug({ error, messages: messages.length }, 'bus dropped messages'),
      )
    }
    sending = undefined
  }

  return {
    subscribe: listeners.subscribe,
    onGap: listeners.onGap,
    publish(topic, message) {
      const text = writeEnvelope(self, topic, message)
      const tooLong = Buffer.byteLength(text) > postgresBusLimits.messageBytes
      if (stopped || tooLong || queued.length >= postgresBusLimits.queued) return
      queued.push(text)
      sending ??= send()
    },
    async [Symbol.asyncDispose]() {
      stopped = true
      await sending
      await listener[Symbol.asyncDispose]()
    },
  }
}
