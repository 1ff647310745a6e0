import { parseDatabaseUrl } from './address.ts'
import { type Connection, openConnection } from './connection.ts'
import type { DatabaseSettings } from './database.ts'
import { DatabaseError } from './database-error.ts'

/** A silent listener is asked for a sign of life this often, and given this long to answer. */
const heartbeatMs = 5_000
const heartbeatAnswerMs = 3_000
const backoffStartMs = 50
const backoffMaxMs = 1_000

/**
 * Listens on `channel` with a connection of its own for as long as it is not disposed. `onLost` is called after each
 * reconnect: payloads may have been missed. Rejects when the first connection cannot be had.
 */
export async function openListener(
  settings: DatabaseSettings,
  channel: string,
  onNotify: (payload: string) => void,
  onLost: () => void,
): Promise<AsyncDisposable> {
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(channel)) throw new TypeError('not a channel name')
  const address = parseDatabaseUrl(settings.url)
  const stopped = new AbortController()
  let current: Connection | undefined
  let started = false

  async function connect(onDeath: () => void): Promise<Connection> {
    const connection = await openConnection({
      address,
      connectMs: settings.connectMs,
      applicationName: `${settings.applicationName} listener`,
      statementMs: 0,
      idleInTransactionMs: 0,
      onNotify: (_channel, payload) => onNotify(payload),
      onDeath,
    })
    await connection.run(`listen ${channel}`, [], settings.connectMs)
    return connection
  }

  /** Reconnects until it succeeds or the listener is disposed. */
  async function reconnect(): Promise<void> {
    for (
      let waitMs = backoffStartMs;
      !stopped.signal.aborted;
      waitMs = Math.min(waitMs * 2, backoffMaxMs)
    ) {
      try {
        current = await connect(onDeath)
        if (stopped.signal.aborted) return await current.close()
        if (!current.alive) continue
        onLost()
        return
      } catch {
        await new Promise((resolve) => setTimeout(resolve, waitMs))
      }
    }
  }

  let reconnecting: Promise<void> | undefined
  function onDeath(): void {
    if (!started || stopped.signal.aborted || reconnecting !== undefined) return
    reconnecting = reconnect().finally(() => {
      reconnecting = undefined
      if (current?.alive === false) onDeath()
    })
  }

  const heartbeat = setInterval(() => {
    // A failure ends in onDeath; there is nothing else to do with it.
    current?.run('select 1', [], heartbeatAnswerMs).catch(() => {})
  }, heartbeatMs)
  heartbeat.unref()

  try {
    current = await connect(onDeath)
    started = true
  } catch (error) {
    clearInterval(heartbeat)
    stopped.abort()
    throw error
  }
  return {
    [Symbol.asyncDispose]: async () => {
      clearInterval(heartbeat)
      stopped.abort(new DatabaseError('closed', 'the listener was closed'))
      await current?.close()
      await reconnecting
    },
  }
}
