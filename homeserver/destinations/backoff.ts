/**
 * Which servers do not answer, and when they may be tried again. Decided in memory; stored at most once a second, so
 * that a restart does not knock on every dead server at once.
 */
import { LRUCache } from 'lru-cache'
import type { ServerName } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import { backoffs, deleteBackoffs, upsertBackoffs } from './queries.ts'

export interface Backoff extends Disposable {
  /** Milliseconds since the epoch before which the server should be left alone; 0 when it answers. */
  retryAt(server: ServerName): number
  /** Called after an answer of any kind, or a signed request of that server: it is there. */
  succeeded(server: ServerName): void
  /** Called when there was no answer, or one that says "later". `retryAfterMs` is the server's own wish. */
  failed(server: ServerName, retryAfterMs?: number): void
  /** Called with each server that answers again. */
  onReturn(listener: (server: ServerName) => void): void
  /** Stores what has changed; called every second, and at the end. */
  flush(): Promise<void>
}

/** First pause; each further failure doubles it, up to an hour. */
const firstPauseMs = 1_000
const pauseMaxMs = 3_600_000
/** Failing servers remembered. */
const serversMax = 50_000
const flushEveryMs = 1_000

interface Failing {
  readonly since: number
  readonly retryAt: number
  readonly intervalMs: number
}

export async function createBackoff({
  db,
  clock,
  log,
}: {
  readonly db: Database
  readonly clock: Clock
  readonly log: Logger
}): Promise<Backoff> {
  const failing = new LRUCache<ServerName, Failing>({ max: serversMax })
  const dirty = new Set<ServerName>()
  const listeners: ((server: ServerName) => void)[] = []
  for (const row of await backoffs(db, serversMax)) {
    const { failing_since: since, retry_at: retryAt, interval_ms: intervalMs } = row
    failing.set(row.server, { since, retryAt, intervalMs })
  }

  async function flush(): Promise<void> {
    if (dirty.size === 0) return
    const servers = [...dirty]
    dirty.clear()
    try {
      const rows = servers.flatMap((server) => {
        const { since, retryAt, intervalMs } = failing.get(server) ?? {}
        if (since === undefined) return []
        return { server, failing_since: since, retry_at: retryAt, interval_ms: intervalMs }
      })
      const gone = servers.filter((server) => !failing.has(server))
      if (rows.length > 0) await upsertBackoffs(db, JSON.stringify(rows))
      if (gone.length > 0) await deleteBackoffs(db, gone)
    } catch (error) {
      for (const server of servers) dirty.add(server)
      log.warn({ error }, 'backoff could not be stored')
    }
  }

  const ticker = clock.every(flushEveryMs, () => void flush()) // flush() handles its errors
  return {
    retryAt: (server) => failing.get(server)?.retryAt ?? 0,
    succeeded(server) {
      if (!failing.delete(server)) return
      dirty.add(server)
      for (const listener of listeners) listener(server)
    },
    failed(server, retryAfterMs = 0) {
      const before = failing.get(server)
      // Requests that were on their way together count once.
      if (before && before.retryAt > clock.now()) return
      const intervalMs = before ? Math.min(before.intervalMs * 2, pauseMaxMs) : firstPauseMs
      const pauseMs = Math.min(Math.max(intervalMs, retryAfterMs), pauseMaxMs)
      failing.set(server, {
        since: before?.since ?? clock.now(),
        retryAt: clock.now() + pauseMs,
        intervalMs,
      })
      dirty.add(server)
    },
    onReturn: (listener) => void listeners.push(listener),
    flush,
    [Symbol.dispose]: () => ticker[Symbol.dispose](),
  }
}
