/**
 * Tells one application service of what concerns it: in order, one transaction after the other, each the same until it is
 * taken, also after a restart or by another process. Only the process that owns the service does so.
 */
import type { JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import type { ToDevice } from '../encryption/to-device.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { LogRow, Tail } from '../stream/log.ts'
import type { Appservice } from './appservices.ts'
import type { Asking } from './asking.ts'
import type { Interest } from './interest.ts'
import * as queries from './queries.ts'
import { bodyOf, concerns, Draft, type TransactionNeeds, takeRows } from './transaction.ts'

export const laneLimits = {
  /** Events, receipts and the like in one transaction. */
  perTransaction: 100,
  /** Rows that are kept in memory; what does not fit is read from the log. */
  bufferRows: 5_000,
  pageRows: 1_000,
  /** Things that are only known in memory (who types, who is online). */
  fleetingMax: 1_000,
  retryMinMs: 1_000,
  retryMaxMs: 60_000,
  /** A position that no transaction carries is stored this often. */
  saveMs: 10_000,
} as const

export interface LaneNeeds extends TransactionNeeds {
  readonly db: Database
  readonly clock: Clock
  readonly log: Logger
  readonly tail: Pick<Tail, 'position' | 'read' | 'oldest'>
  readonly asking: Pick<Asking, 'push'>
  readonly toDevice: Pick<ToDevice, 'acknowledge'>
  /** Is this the process that tells the service. */
  readonly isOurs: () => boolean
}

export interface Lane extends AsyncDisposable {
  /** Rows of the log as they come. */
  onRows(rows: readonly LogRow[]): void
  /** Something that is not in the log; what has the same key before is left out. */
  add(key: string, make: () => Promise<JsonObject | undefined>): void
  /** Looks now, also when the service did not answer the last time. */
  wake(): void
}

export function createLane(needs: LaneNeeds, service: Appservice, interest: Interest): Lane {
  return new ServiceLane(needs, service, interest)
}

class ServiceLane implements Lane {
  readonly #needs: LaneNeeds
  readonly #service: Appservice
  readonly #interest: Interest
  readonly #fleeting = new Map<string, () => Promise<JsonObject | undefined>>()
  readonly #stopping = new AbortController()
  #pause = new AbortController()
  /** Every row of interest after `#freshAfter`. */
  #fresh: LogRow[] = []
  #freshAfter: number
  #stream: queries.StreamRow | undefined
  #savedAt = 0
  #failures = 0
  #isPaused = false
  #running: Promise<void> | undefined
  #again = false

  constructor(needs: LaneNeeds, service: Appservice, interest: Interest) {
    this.#needs = needs
    this.#service = service
    this.#interest = interest
    this.#freshAfter = needs.tail.position
  }

  onRows(rows: readonly LogRow[]): void {
    const { isOurs, tail } = this.#needs
    if (!isOurs() || this.#fresh.length + rows.length > laneLimits.bufferRows) {
      this.#fresh = []
      this.#freshAfter = tail.position
    } else {
      for (const row of rows) if (concerns(row)) this.#fresh.push(row)
    }
    this.#look()
  }

  add(key: string, make: () => Promise<JsonObject | undefined>): void {
    if (!this.#needs.isOurs() || this.#isPaused) return
    if (this.#fleeting.size >= laneLimits.fleetingMax) return
    this.#fleeting.set(key, make)
    this.#look()
  }

  wake(): void {
    this.#isPaused = false
    this.#pause.abort()
    this.#look()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort()
    this.#pause.abort()
    await this.#running
  }

  #look(): void {
    this.#again = true
    if (this.#isPaused || this.#stopping.signal.aborted) return
    this.#running ??= this.#run()
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        this.#running = undefined
        if (this.#again && !this.#isPaused) this.#look()
      })
  }

  async #run(): Promise<void> {
    const { isOurs } = this.#needs
    while (this.#again && !this.#stopping.signal.aborted) {
      this.#again = false
      if (!isOurs()) {
        this.#stream = undefined
        this.#interest.forget()
        return
      }
      await this.#step()
    }
  }

  async #step(): Promise<void> {
    const { db, asking, tail, log } = this.#needs
    const { id } = this.#service
    // Another process may have told of what would change the verdicts.
    if (this.#stream === undefined) this.#interest.forget()
    const stream = this.#stream ?? (await queries.openStream(db, id, tail.position))
    this.#stream = stream
    if (stream.body !== null) {
      await asking.push(this.#service, stream.txn, stream.body, this.#stopping.signal)
      await queries.closeTransaction(db, id, stream.txn)
      this.#stream = { ...stream, body: null }
      if (this.#failures > 0) log.info({ service: id }, 'application service answers again')
      this.#failures = 0
      this.#again = true
      return
    }
    await this.#fill(stream)
  }

  /** Makes the next transaction, or notes that there is nothing to tell. */
  async #fill(stream: queries.StreamRow): Promise<void> {
    const { db, clock } = this.#needs
    const { perTransaction: max, saveMs } = laneLimits
    const draft = new Draft()
    const { rows, upTo, isAll } = await this.#rowsAfter(stream.position)
    const last = await takeRows(this.#needs, this.#service, this.#interest, rows, { draft, max })
    const isDone = last === undefined || last === rows.at(-1)?.position
    const position = isDone ? upTo : last
    if (!isDone || !isAll) this.#again = true
    await this.#takeFleeting(draft)
    this.#forgetFresh(position)
    if (draft.size === 0) {
      const next = { ...stream, position }
      this.#stream = next
      if (clock.now() - this.#savedAt < saveMs || position === stream.position) return
      this.#savedAt = clock.now()
      if (!(await queries.advanceStream(db, this.#service.id, stream, next)))
        this.#stream = undefined
      return
    }
    const next = { position, txn: stream.txn + 1, body: await bodyOf(this.#needs, draft) }
    const isNoted = await queries.advanceStream(db, this.#service.id, stream, next)
    this.#stream = isNoted ? next : undefined
    this.#again = true
    if (!isNoted) return
    const { toDevice } = this.#needs
    for (const { user, device, position: at } of draft.taken) toDevice.acknowledge(user, device, at)
  }

  async #rowsAfter(
    position: number,
  ): Promise<{ rows: readonly LogRow[]; upTo: number; isAll: boolean }> {
    const { tail, log } = this.#needs
    const upTo = tail.position
    if (position >= this.#freshAfter) {
      return { rows: this.#fresh.filter((row) => row.position > position), upTo, isAll: true }
    }
    if (position < (await tail.oldest()) - 1) {
      log.warn(
        { service: this.#service.id, position },
        'application service missed a part of the log',
      )
    }
    const page = await tail.read(position, laneLimits.pageRows)
    const isAll = page.length < laneLimits.pageRows
    const last = page.at(-1)?.position ?? position
    return { rows: page.filter(concerns), upTo: isAll ? Math.max(last, upTo) : last, isAll }
  }

  #forgetFresh(upTo: number): void {
    if (upTo < this.#freshAfter) return
    this.#fresh = this.#fresh.filter((row) => row.position > upTo)
    this.#freshAfter = upTo
  }

  async #takeFleeting(draft: Draft): Promise<void> {
    const makers = [...this.#fleeting.values()]
    this.#fleeting.clear()
    for (const make of makers) {
      const made = await make()
      if (made !== undefined) draft.ephemeral.push(made)
    }
  }

  #fail(error: unknown): void {
    // What was not taken is sent again by whoever comes next.
    if (this.#stopping.signal.aborted) return
    const { clock, log } = this.#needs
    const { retryMinMs, retryMaxMs } = laneLimits
    this.#failures += 1
    const ms = Math.min(retryMinMs * 2 ** (this.#failures - 1), retryMaxMs)
    log.warn({ error, service: this.#service.id, retryMs: ms }, 'application service was not told')
    this.#isPaused = true
    this.#fleeting.clear()
    this.#pause = new AbortController()
    clock.sleep(ms, this.#pause.signal).then(
      () => this.wake(),
      () => {},
    )
  }
}
