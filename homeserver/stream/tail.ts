import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { LogKind, LogRow, Position, Tail } from './log.ts'
import { newestPosition, oldestPosition, rowsAfter, type StoredLogRow } from './queries.ts'
import { createLoaders, type Load, parseRow } from './rows.ts'
import { createWaiters, type Waiters } from './waiters.ts'

/**
 * Hands every row of the log to the subscribers of this process: never one twice, none left out, in order of position.
 * What this process wrote comes straight from its writer; what others wrote is read from Postgres first. Hints say
 * that there is something to read; without them the head is read every second.
 */

export const tailLimits = {
  /** Rows read at once. */
  pageRows: 2_000,
  /** How often the head is read without a hint, in ms. */
  pollMs: 1_000,
  /** Pause after a read that failed, in ms. */
  retryMs: 200,
  /** Callers of `reached` that may wait at a time. */
  waitersMax: 100_000,
} as const

/** A batch of this process's own writer that is durable. */
export interface OwnBatch {
  /** The last position handed out before it: everything at or below is final. 0 for a batch without rows. */
  readonly before: Position
  /** Its rows, in order. */
  readonly rows: readonly LogRow[]
}

/** The tail as its owner sees it; slices get the narrower `Tail`. */
export interface RunningTail extends Tail, AsyncDisposable {
  /** Takes the newest position as its own and begins to follow; after all loaders are set. */
  start(): Promise<void>
  /** Somebody says that `position` exists. */
  hint(position: Position): void
  /** Somebody's hints may have been lost: read the head. */
  look(): void
  /** Resolves when everything that is stored now has been handed over; rejects when the database does not answer. */
  catchUp(): Promise<void>
  /** Between `sending` and `settled` a row of this process in the table is left to `deliver`, which has its payload. */
  sending(): void
  settled(): void
  /** Takes a batch of this process; `passed` is called when the subscribers have seen it. */
  deliver(batch: OwnBatch, passed: () => void): void
}

interface Subscriber {
  readonly name: string
  readonly onRows: (rows: readonly LogRow[]) => void
}

interface Needs {
  readonly db: Database
  readonly clock: Clock
  readonly log: Logger
  /** This process's id, as the writer stamps rows with it. */
  readonly self: string
}

export function createTail(needs: Needs): RunningTail {
  return new LogTail(needs)
}

class LogTail implements RunningTail {
  readonly #needs: Needs
  readonly #loaders = createLoaders()
  readonly #subscribers = new Map<symbol, Subscriber>()
  readonly #waiters: Waiters
  /** Own batches that rows of others have to be read before. */
  readonly #own: { batch: OwnBatch; passed: () => void }[] = []
  readonly #stopping = new AbortController()
  #position: Position = 0
  #hinted: Position = 0
  #lookAgain = false
  #ownInFlight = false
  /** The next row is an own one that the writer is about to hand over: reading on is of no use before. */
  #ownIsNext = false
  #started = false
  #reading: Promise<void> | undefined
  #ticker: Disposable | undefined

  constructor(needs: Needs) {
    this.#needs = needs
    this.#waiters = createWaiters(needs.clock, tailLimits.waitersMax)
  }

  get position(): Position {
    return this.#position
  }

  readonly subscribe: Tail['subscribe'] = (name, onRows) => {
    const key = Symbol(name)
    this.#subscribers.set(key, { name, onRows })
    return { [Symbol.dispose]: () => void this.#subscribers.delete(key) }
  }

  reached(position: Position, timeoutMs: number): Promise<boolean> {
    if (this.#position >= position) return Promise.resolve(true)
    return this.#waiters.wait(position, timeoutMs)
  }

  loader(kind: LogKind, load: Load): void {
    if (this.#started) throw new Error('loaders are set before the tail starts')
    this.#loaders.set(kind, load)
  }

  async read(from: Position, limit: number): Promise<readonly LogRow[]> {
    const rows = await rowsAfter(this.#needs.db, from, Math.min(limit, tailLimits.pageRows))
    return this.#loaders.load(rows.map(parseRow))
  }

  oldest(): Promise<Position> {
    return oldestPosition(this.#needs.db)
  }

  async start(): Promise<void> {
    const { db, clock } = this.#needs
    this.#position = await newestPosition(db)
    this.#started = true
    this.#ticker = clock.every(tailLimits.pollMs, () => this.look())
    this.#deliverOwn()
    this.#follow()
  }

  hint(position: Position): void {
    if (position > this.#hinted) this.#hinted = position
    this.#follow()
  }

  look(): void {
    this.#lookAgain = true
    this.#follow()
  }

  async catchUp(): Promise<void> {
    const head = await newestPosition(this.#needs.db)
    while (this.#position < head && !this.#stopping.signal.aborted) {
      this.look()
      await this.#waiters.wait(head, tailLimits.pollMs)
    }
  }

  sending(): void {
    this.#ownInFlight = true
  }

  settled(): void {
    this.#ownInFlight = false
    this.#ownIsNext = false
    this.#follow()
  }

  deliver(batch: OwnBatch, passed: () => void): void {
    this.#own.push({ batch, passed })
    this.#deliverOwn()
    this.#follow()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort()
    this.#ticker?.[Symbol.dispose]()
    this.#waiters.stop()
    await this.#reading
  }

  #advance(rows: readonly LogRow[], upTo: Position): void {
    this.#position = upTo
    for (const { name, onRows } of rows.length > 0 ? this.#subscribers.values() : []) {
      try {
        onRows(rows)
      } catch (error) {
        // A subscriber that throws is a defect; it must not keep the others from their rows.
        this.#needs.log.error({ error, name, position: upTo }, 'subscriber of the log threw')
      }
    }
    this.#waiters.passed(upTo)
  }

  /** Hands over own batches as long as nothing of others is missing before them. */
  #deliverOwn(): void {
    for (;;) {
      const [next] = this.#own
      if (next === undefined || next.batch.before > this.#position) return
      this.#own.shift()
      const last = next.batch.rows.at(-1)?.position ?? 0
      if (last > this.#position) this.#advance(after(next.batch.rows, this.#position), last)
      next.passed()
    }
  }

  #follow(): void {
    if (this.#reading !== undefined || !this.#wantsToRead()) return
    this.#reading = this.#readOn().finally(() => {
      this.#reading = undefined
      this.#follow()
    })
  }

  #wantsToRead(): boolean {
    if (!this.#started || this.#stopping.signal.aborted || this.#ownIsNext) return false
    return this.#lookAgain || this.#hinted > this.#position || this.#own.length > 0
  }

  async #readOn(): Promise<void> {
    const { clock, log } = this.#needs
    while (this.#wantsToRead()) {
      try {
        await this.#readPage()
      } catch (error) {
        if (this.#stopping.signal.aborted) return
        log.warn({ error, position: this.#position }, 'log could not be read')
        this.#lookAgain = true
        await clock.sleep(tailLimits.retryMs, this.#stopping.signal).catch(() => {})
      }
    }
  }

  async #readPage(): Promise<void> {
    this.#lookAgain = false
    const hinted = this.#hinted
    const final = this.#own[0]?.batch.before ?? 0
    const page = await rowsAfter(this.#needs.db, this.#position, tailLimits.pageRows)
    const rows = await this.#withPayloads(page)
    if (this.#stopping.signal.aborted) return
    const fresh = after(rows, this.#position)
    const last = fresh.at(-1)?.position ?? this.#position
    const isWhole = page.length < tailLimits.pageRows
    const isComplete = isWhole && rows.length === page.length
    // Nothing can appear at or below `final` any more: gaps in front of an own batch are passed with it.
    const upTo = isComplete ? Math.max(last, final) : last
    if (upTo > this.#position) this.#advance(fresh, upTo)
    // A hint beyond what can be read (of a lost future, or a lie) is not followed for ever.
    if (isComplete && this.#hinted === hinted) this.#hinted = Math.min(hinted, this.#position)
    if (!isWhole) this.#lookAgain = true
    this.#deliverOwn()
    const next = page[rows.length]
    this.#ownIsNext = next !== undefined && next.position > this.#position && this.#ownInFlight
  }

  /** The page with payloads; ends in front of an own row that the writer is about to hand over. */
  async #withPayloads(page: readonly StoredLogRow[]): Promise<LogRow[]> {
    const handed = new Map<Position, LogRow>()
    for (const { batch } of this.#own) {
      for (const row of batch.rows) handed.set(row.position, row)
    }
    const isAwaited = ({ process, position }: StoredLogRow) =>
      process === this.#needs.self && this.#ownInFlight && !handed.has(position)
    const end = page.findIndex(isAwaited)
    const rows = (end === -1 ? page : page.slice(0, end)).map(parseRow)
    const loaded = await this.#loaders.load(rows.filter(({ position }) => !handed.has(position)))
    let next = 0
    return rows.map((row) => handed.get(row.position) ?? loaded[next++] ?? row)
  }
}

function after(rows: readonly LogRow[], position: Position): readonly LogRow[] {
  const first = rows.findIndex((row) => row.position > position)
  if (first === 0) return rows
  return first === -1 ? [] : rows.slice(first)
}
