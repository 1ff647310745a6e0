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
  /** False after a pause: what was asked of this process before may have been done by another one since. */
  readonly holdsLease: boolean
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

export function createProcesses(needs: Needs): RunningProcesses {
  return new LiveProcesses(needs)
}

class LiveProcesses implements RunningProcesses {
  readonly #needs: Needs
  readonly #listeners = new Set<() => void>()
  /** As Postgres told us last; without us while we are away. */
  #live: readonly ProcessRow[]
  #others: readonly ProcessRow[] = []
  /** By our own clock, when the renewal that succeeded last was asked for; 0 before the first. */
  #renewedAt = 0
  #renewing: Promise<void> | undefined
  /** Asked to look while looking. */
  #lookAgain = false
  #ticker: Disposable | undefined
  #stopped = false
  /** Our lease had run out and we are not back yet. */
  #away = false
  #expiry = new AbortController()

  constructor(needs: Needs) {
    this.#needs = needs
    this.#live = [{ id: needs.self, address: needs.address, lease_ms: 0 }]
  }

  get self(): string {
    return this.#needs.self
  }

  get alone(): boolean {
    return this.#others.length === 0
  }

  get holdsLease(): boolean {
    return !this.#away && !this.#stopped && !this.#isLapsed()
  }

  ownerOf(key: string): ProcessRow | undefined {
    // After a pause this is asked before anything else is known: the others have taken over by then.
    const candidates = this.#isLapsed() && !this.alone ? this.#others : this.#live
    const owner = ownerAmong(candidates, key)
    return owner?.id === this.self ? undefined : owner
  }

  others(): readonly ProcessRow[] {
    return this.#others
  }

  onChange(listener: () => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }

  async start(): Promise<void> {
    for (let attempt = 1; this.#renewedAt === 0; attempt++) {
      await this.#renew().catch((error: unknown) => {
        if (attempt === leaseLimits.startAttempts) throw error
      })
    }
    this.#ticker = this.#needs.clock.every(leaseLimits.renewMs, () => this.look())
  }

  look(): void {
    if (this.#stopped) return
    this.#lookAgain = this.#renewing !== undefined
    this.#renewing ??= this.#renew()
      .catch((error: unknown) => this.#needs.log.warn({ error }, 'lease could not be renewed'))
      .finally(() => {
        this.#renewing = undefined
        if (this.#lookAgain) this.look()
      })
  }

  async leave(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    this.#expiry.abort()
    this.#ticker?.[Symbol.dispose]()
    await this.#renewing
    await removeProcess(this.#needs.db, this.self).catch((error: unknown) => {
      this.#needs.log.warn({ error }, 'lease is left to run out')
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.leave()
  }

  #isLapsed(): boolean {
    const { clock } = this.#needs
    return this.#renewedAt !== 0 && clock.now() - this.#renewedAt > leaseLimits.leaseMs
  }

  async #renew(): Promise<void> {
    const { clock, log } = this.#needs
    const askedAt = clock.now()
    if (this.#isLapsed() && !this.#away) void this.#goAway()
    const rows = this.#away ? await this.#liveWithoutUs() : await this.#takeLease()
    if (this.#stopped) return
    if (!this.#away) this.#renewedAt = askedAt
    const sorted = rows.toSorted((a, b) => (a.id < b.id ? -1 : 1))
    const changed = idsOf(sorted) !== idsOf(this.#live)
    this.#live = sorted
    this.#others = sorted.filter(({ id }) => id !== this.self)
    this.#lookWhenLeaseEnds()
    if (!changed) return
    log.info({ live: sorted.length }, 'live processes changed')
    for (const listener of [...this.#listeners]) listener()
  }

  #takeLease(): Promise<readonly ProcessRow[]> {
    const { db, self, address } = this.#needs
    return renewLease(db, self, address, leaseLimits.leaseMs)
  }

  /**
   * What was missed is read first: whoever takes rooms while being behind lets their writers wait. Never rejects.
   */
  async #goAway(): Promise<void> {
    const { clock, log, caughtUp } = this.#needs
    this.#away = true
    log.warn({ self: this.self }, 'lease had run out')
    while (this.#away && !this.#stopped) {
      try {
        await caughtUp()
        break
      } catch (error) {
        log.warn({ error }, 'could not catch up')
        await clock.sleep(leaseLimits.renewMs)
      }
    }
    if (!this.#away) return
    this.#away = false
    this.#renewedAt = clock.now()
    this.look()
  }

  /** When nobody else is there, there is nobody to leave the work to. */
  async #liveWithoutUs(): Promise<readonly ProcessRow[]> {
    const rows = await otherProcesses(this.#needs.db, this.self)
    if (rows.length > 0 || !this.#away) return rows
    this.#away = false
    return this.#takeLease()
  }

  /** The keys of a process that died are taken over at the end of its lease and not a second later. */
  #lookWhenLeaseEnds(): void {
    this.#expiry.abort()
    this.#expiry = new AbortController()
    const soonest = Math.min(...this.#others.map(({ lease_ms }) => lease_ms))
    if (soonest > leaseLimits.renewMs) return
    this.#needs.clock.sleep(soonest + 10, this.#expiry.signal).then(
      () => this.look(),
      () => {},
    )
  }
}

function idsOf(rows: readonly ProcessRow[]): string {
  return rows.map(({ id }) => id).join()
}
