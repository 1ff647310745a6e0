import { parseDatabaseUrl } from './address.ts'
import { type Connection, openConnection } from './connection.ts'
import type { DatabaseSettings } from './database.ts'
import { DatabaseError } from './database-error.ts'
import { type SilenceWatch, watchForSilence } from './silence.ts'

interface Waiter {
  readonly resolve: (connection: Connection) => void
  readonly reject: (error: DatabaseError) => void
  readonly timer: NodeJS.Timeout
}

/** A connection that was idle for longer is asked for a sign of life before it is lent. */
const trustedIdleMs = 5_000
const pingMs = 2_000
const backoffStartMs = 50
const backoffMaxMs = 1_000
/** Refusals that waiting does not cure: wrong password, unknown database, no right to connect. */
const hopeless = new Set(['28000', '28P01', '3D000', '42501'])

/** Connections that are lent to one caller at a time; the dead are replaced, the silent are not lent again. */
export class Pool {
  readonly #settings: DatabaseSettings
  readonly #address: ReturnType<typeof parseDatabaseUrl>
  readonly #all = new Set<Connection>()
  readonly #idle: { connection: Connection; since: number }[] = []
  readonly #waiters = new Set<Waiter>()
  readonly #watch: SilenceWatch
  #opening = 0
  #closed = false
  #backoffMs = 0
  #lastError: DatabaseError | undefined
  /** Connections that idle since before this moment are asked for a sign of life first. */
  #doubtBefore = 0

  constructor(settings: DatabaseSettings) {
    this.#settings = settings
    this.#address = parseDatabaseUrl(settings.url)
    this.#watch = watchForSilence({
      connections: () => this.#all,
      open: () => this.#connect({ applicationName: `${settings.applicationName} watch` }),
    })
  }

  /** Lends a connection; the caller gives it back with `release`. Rejects with unavailable, overloaded or closed. */
  async acquire(): Promise<Connection> {
    while (!this.#closed) {
      const entry = this.#idle.pop()
      if (entry === undefined) return await this.#wait()
      const { connection, since } = entry
      if (!connection.alive) continue
      const trusted = since > this.#doubtBefore && Date.now() - since < trustedIdleMs
      if (trusted || (await answers(connection))) return connection
    }
    throw poolClosed()
  }

  /** Takes a connection back; a dead one is forgotten. */
  release(connection: Connection): void {
    if (this.#closed) {
      void connection.close()
    } else if (!connection.alive) {
      this.#forget(connection)
    } else {
      const [waiter] = this.#waiters
      if (waiter === undefined) this.#idle.push({ connection, since: Date.now() })
      else {
        this.#waiters.delete(waiter)
        clearTimeout(waiter.timer)
        waiter.resolve(connection)
      }
    }
  }

  /** Refuses new callers, waits `closeMs` for lent connections and drops the rest. */
  async close(): Promise<void> {
    this.#closed = true
    this.#watch.stop()
    this.#rejectAll(poolClosed())
    await Promise.all(this.#idle.splice(0).map(({ connection }) => connection.close()))
    const deadline = Date.now() + this.#settings.closeMs
    const busy = () => [...this.#all].some((connection) => connection.alive)
    while (busy() && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    for (const connection of this.#all) connection.destroy(poolClosed())
  }

  #wait(): Promise<Connection> {
    const { waitersMax, acquireMs } = this.#settings
    if (this.#waiters.size >= waitersMax) {
      const message = `more than ${waitersMax} statements wait for a connection`
      throw new DatabaseError('overloaded', message)
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter)
        const why = this.#lastError?.message ?? 'all connections are busy'
        reject(new DatabaseError('unavailable', `no connection in time: ${why}`))
      }, acquireMs)
      const waiter: Waiter = { resolve, reject, timer }
      this.#waiters.add(waiter)
      this.#openMore()
    })
  }

  /** Opens connections for those who wait, one at a time while the database is not answering. */
  #openMore(): void {
    const wanted = this.#backoffMs > 0 ? Math.min(1, this.#waiters.size) : this.#waiters.size
    const room = this.#settings.connections - this.#all.size
    while (!this.#closed && this.#opening < wanted && this.#opening < room) {
      this.#opening++
      if (this.#backoffMs === 0) void this.#open()
      else setTimeout(() => void this.#open(), this.#backoffMs)
    }
  }

  /** Never rejects. */
  async #open(): Promise<void> {
    try {
      const connection: Connection = await this.#connect({
        onDeath: () => this.#onDeath(connection),
      })
      this.#backoffMs = 0
      this.#lastError = undefined
      this.#opening--
      this.#all.add(connection)
      this.release(connection)
    } catch (error) {
      this.#opening--
      this.#onOpenFailure(error)
    }
  }

  #connect(settings: { applicationName?: string; onDeath?: () => void }): Promise<Connection> {
    return openConnection({
      address: this.#address,
      connectMs: this.#settings.connectMs,
      applicationName: this.#settings.applicationName,
      statementMs: this.#settings.statementMs,
      idleInTransactionMs: this.#settings.transactionMs,
      ...settings,
    })
  }

  #onOpenFailure(error: unknown): void {
    const failure =
      error instanceof DatabaseError ? error : new DatabaseError('unavailable', String(error))
    this.#lastError = failure
    this.#backoffMs = Math.min(backoffMaxMs, Math.max(backoffStartMs, this.#backoffMs * 2))
    if (hopeless.has(failure.code ?? '')) this.#rejectAll(failure)
    this.#openMore()
  }

  #onDeath(connection: Connection): void {
    // A failover or a half-open peer rarely hits one connection alone.
    this.#doubtBefore = Date.now()
    this.#forget(connection)
  }

  #forget(connection: Connection): void {
    this.#all.delete(connection)
    const at = this.#idle.findIndex((entry) => entry.connection === connection)
    if (at !== -1) this.#idle.splice(at, 1)
    this.#openMore()
  }

  #rejectAll(error: DatabaseError): void {
    for (const waiter of this.#waiters) {
      clearTimeout(waiter.timer)
      waiter.reject(error)
    }
    this.#waiters.clear()
  }
}

async function answers(connection: Connection): Promise<boolean> {
  try {
    await connection.run('select 1', [], pingMs)
    return true
  } catch {
    // The deadline or the error has already dropped it, or a server error says that it is of no use.
    connection.destroy(new DatabaseError('connection_lost', 'no sign of life'))
    return false
  }
}

function poolClosed(): DatabaseError {
  return new DatabaseError('closed', 'the database pool is closed')
}
