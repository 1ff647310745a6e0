import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Processes } from './log.ts'
import { otherProcesses, type ProcessRow, removeProcess, renewLease } from './queries.ts'
import { ownerAmong } from './rendezvous.ts'

/**
 * The live processes of this server: rows with a lease by the database's clock, renewed every second. Ownership is
 * advice (fences decide), so a view that is a second old does no harm. A process that lost its lease (it was paused or cut
 * off) owns nothing until it has caught up with the log; the others go on meanwhile.
 */

export const leaseLimits = {
  leaseMs: 3_000,
  renewMs: 1_000,
  /** Taking a lease twice does no harm, so a start survives lost connections. */
  startAttempts: 5,
} as const

/** As its owner sees it; slices get the narrower `Processes`. */
export interface RunningProcesses extends Processes, AsyncDisposable {
  /** Takes the lease; rejects when the database does not answer. */
  start(): Promise<void>
  /** The other live processes. */
  others(): readonly Pick<ProcessRow, 'id' | 'address'>[]
  /** Somebody says that a process came or went: looks now. */
  look(): void
  /** Gives up the lease at once: the others take over while this process ends what it has begun. */
  leave(): Promise<void>
  /** Called when a process came or went, and after this one had lost its lease (it was paused or cut off). */
  onChange(listener: () => void): Disposable
}

interface Needs {
  readonly db: Database
  readonly clock: Clock
  readonly log: Logger
  /** Unique for each start of a process. */
  readonly self: string
  /** Where the other processes reach this one's internal listener: `host:port`. */
  readonly address: string
  /** Resolves when this process has seen everything that is in the log now. */
  readonly caughtUp: () => Promise<void>
}

export function createProcesses({
  db,
  clock,
  log,
  self,
  address,
  caughtUp,
}: Needs): RunningProcesses {
  const listeners = new Set<() => void>()
  let live: readonly ProcessRow[] = [{ id: self, address, lease_ms: 0 }]
  let others: readonly ProcessRow[] = []
  let renewedAt = 0
  let renewing: Promise<void> | undefined
  let ticker: Disposable | undefined
  let stopped = false
  /** Our lease had run out and we are not back yet. */
  let away = false
  let expiry = new AbortController()

  async function renew(): Promise<void> {
    const askedAt = clock.now()
    const lapsed = renewedAt !== 0 && askedAt - renewedAt > leaseLimits.leaseMs
    if (lapsed && !away) goAway()
    const rows = away
      ? await liveWithoutUs()
      : await renewLease(db, self, address, leaseLimits.leaseMs)
    if (stopped) return
    if (!away) renewedAt = askedAt
    const sorted = rows.toSorted((a, b) => (a.id < b.id ? -1 : 1))
    const changed = sorted.map(({ id }) => id).join() !== live.map(({ id }) => id).join()
    live = sorted
    others = sorted.filter(({ id }) => id !== self)
    lookWhenLeaseEnds()
    if (!changed) return
    log.info({ live: live.length, others: others.length }, 'live processes changed')
    for (const listener of [...listeners]) listener()
  }

  /** What was missed is read first: whoever takes rooms while being behind lets their writers wait. */
  function goAway(): void {
    away = true
    log.warn({ self }, 'lease had run out')
    caughtUp()
      .catch((error: unknown) => log.warn({ error }, 'could not catch up'))
      .finally(comeBack)
  }

  function comeBack(): void {
    if (!away || stopped) return
    away = false
    renewedAt = clock.now()
    tick()
  }

  /** When nobody else is there, there is nobody to leave the work to. */
  async function liveWithoutUs(): Promise<readonly ProcessRow[]> {
    const rows = await otherProcesses(db, self)
    if (rows.length > 0) return rows
    away = false
    return renewLease(db, self, address, leaseLimits.leaseMs)
  }

  /** The keys of a process that died are taken over at the end of its lease and not a second later. */
  function lookWhenLeaseEnds(): void {
    expiry.abort()
    expiry = new AbortController()
    const soonest = Math.min(...others.map(({ lease_ms }) => lease_ms))
    if (soonest > leaseLimits.renewMs) return
    clock.sleep(soonest + 10, expiry.signal).then(tick, () => {})
  }

  function tick(): void {
    if (stopped) return
    renewing ??= renew()
      .catch((error: unknown) => log.warn({ error }, 'lease could not be renewed'))
      .finally(() => {
        renewing = undefined
      })
  }

  async function leave(): Promise<void> {
    if (stopped) return
    stopped = true
    expiry.abort()
    ticker?.[Symbol.dispose]()
    await renewing
    await removeProcess(db, self).catch((error: unknown) => {
      log.warn({ error }, 'lease is left to run out')
    })
  }

  return {
    self,
    get alone() {
      return others.length === 0
    },
    ownerOf(key) {
      const owner = ownerAmong(live, key)
      return owner === undefined || owner.id === self ? undefined : owner
    },
    others: () => others,
    onChange(listener) {
      listeners.add(listener)
      return { [Symbol.dispose]: () => void listeners.delete(listener) }
    },
    look: tick,
    leave,
    async start() {
      await renew()
      ticker = clock.every(leaseLimits.renewMs, tick)
    },
    [Symbol.asyncDispose]: leave,
  }
}
