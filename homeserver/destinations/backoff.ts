/**
 * Which servers do not answer, and when they may be tried again. Decided in memory; stored at most once a second, so
 * that a restart does not knock on every dead server at once, and the other processes know as well.
 */
import { LRUCache } from 'lru-cache'
import type { ServerName } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import { atMost } from '../platform/cache.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import { type BackoffRow, changedBackoffs, failingServers, upsertBackoffs } from './queries.ts'

export interface Backoff extends AsyncDisposable {
  /** Milliseconds since the epoch before which the server should be left alone; 0 when it answers. */
  retryAt(server: ServerName): number
  /** Called after an answer of any kind, or a signed request of that server: it is there. */
  succeeded(server: ServerName): void
  /** Called when there was no answer, or one that says "later". `retryAfterMs` is the server's own wish. */
  failed(server: ServerName, retryAfterMs?: number): void
  /** Something is sent to this server: operators will find it in the list. */
  met(server: ServerName): void
  /** Called with each server that answers again, or was told to be there by another process. */
  onReturn(listener: (server: ServerName) => void): void
  /** Stores what has changed; called every second, and at the end. */
  flush(): Promise<void>
  /** Learns what the other processes, or an operator, stored within the last two minutes. */
  refresh(): Promise<void>
}

/** Bounds of the pause after a failure, in milliseconds. */
export interface RetrySettings {
  readonly minMs: number
  readonly maxMs: number
}

export const retryDefaults: RetrySettings = { minMs: 1_000, maxMs: 604_800_000 }
/**
 * The pause is this part of the time for which the server has not answered: so much later than it could have been is
 * it found again, after a minute's outage as after a day's, and a dead one is tried a few dozen times in all.
 */
const pauseShare = 1 / 5
/** Failing servers remembered, and servers known to be stored. */
const serversMax = 50_000
const flushEveryMs = 1_000
/** Longer than the pauses between two refreshes and any commit together. */
const windowMs = 120_000

interface Failing {
  readonly since: number
  readonly retryAt: number
  readonly intervalMs: number
}

export async function createBackoff({
  db,
  clock,
  log,
  retry = retryDefaults,
}: {
  readonly db: Database
  readonly clock: Clock
  readonly log: Logger
  readonly retry?: RetrySettings | undefined
}): Promise<Backoff> {
  const failing = new LRUCache<ServerName, Failing>({ ...atMost(serversMax) })
  const stored = new LRUCache<ServerName, true>({ ...atMost(serversMax) })
  const dirty = new Set<ServerName>()
  const listeners: ((server: ServerName) => void)[] = []
  let work = Promise.resolve()

  function learn({ server, failing_since, retry_at, interval_ms }: BackoffRow): void {
    stored.set(server, true)
    // What was found out here is newer than what is stored.
    if (dirty.has(server)) return
    if (failing_since === 0) returned(server)
    else failing.set(server, { since: failing_since, retryAt: retry_at, intervalMs: interval_ms })
  }

  function returned(server: ServerName): boolean {
    if (!failing.delete(server)) return false
    for (const listener of listeners) listener(server)
    return true
  }

  async function store(): Promise<void> {
    if (dirty.size === 0) return
    const servers = [...dirty]
    dirty.clear()
    try {
      const rows = servers.map((server): BackoffRow => {
        const { since = 0, retryAt = 0, intervalMs = 0 } = failing.peek(server) ?? {}
        return { server, failing_since: since, retry_at: retryAt, interval_ms: intervalMs }
      })
      await upsertBackoffs(db, JSON.stringify(rows))
      for (const server of servers) stored.set(server, true)
    } catch (error) {
      for (const server of servers) dirty.add(server)
      log.warn({ error }, 'backoff could not be stored')
    }
  }

  async function refresh(): Promise<void> {
    try {
      for (const row of await changedBackoffs(db, windowMs, serversMax)) learn(row)
    } catch (error) {
      log.warn({ error }, 'backoff could not be read')
    }
  }

  /** One after the other: what is read must not be older than what was just stored. */
  function inTurn(task: () => Promise<void>): Promise<void> {
    work = work.then(task)
    return work
  }

  for (const row of await failingServers(db, serversMax)) learn(row)
  const ticker = clock.every(flushEveryMs, () => void inTurn(store)) // it handles its errors
  return {
    retryAt(server) {
      const { retryAt = 0, intervalMs = 0 } = failing.get(server) ?? {}
      // A clock that was set back: the pause would seem to begin in the future.
      return retryAt - intervalMs > clock.now() ? 0 : retryAt
    },
    succeeded(server) {
      if (returned(server)) dirty.add(server)
    },
    failed(server, retryAfterMs = 0) {
      const before = failing.get(server)
      const now = clock.now()
      // Requests that were on their way together count once.
      if (before && before.retryAt > now && before.retryAt - before.intervalMs <= now) return
      const since = Math.min(before?.since ?? now, now)
      const wishMs = Math.max((now - since) * pauseShare, retryAfterMs, retry.minMs)
      const intervalMs = Math.round(Math.min(wishMs, retry.maxMs))
      failing.set(server, { since, retryAt: now + intervalMs, intervalMs })
      dirty.add(server)
    },
    met(server) {
      if (!stored.has(server)) dirty.add(server)
    },
    onReturn: (listener) => void listeners.push(listener),
    flush: () => inTurn(store),
    refresh: () => inTurn(refresh),
    async [Symbol.asyncDispose]() {
      ticker[Symbol.dispose]()
      await inTurn(store)
    },
  }
}
