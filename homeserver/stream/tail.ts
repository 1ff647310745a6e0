import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { LogRow, Position, Tail } from './log.ts'
import { newestPosition, oldestPosition, rowsAfter, type StoredLogRow } from './queries.ts'
import { createLoaders, parseRow } from './rows.ts'
import { createWaiters } from './waiters.ts'

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

interface Needs {
  readonly db: Database
  readonly clock: Clock
  readonly log: Logger
  /** This process's id, as the writer stamps rows with it. */
  readonly self: string
}

export function createTail({ db, clock, log, self }: Needs): RunningTail {
  const loaders = createLoaders()
  const subscribers = new Map<symbol, { name: string; onRows: (rows: readonly LogRow[]) => void }>()
  const waiters = createWaiters(clock, tailLimits.waitersMax)
  const own: { batch: OwnBatch; passed: () => void }[] = []
  const stopping = new AbortController()
  let position: Position = 0
  let hinted: Position = 0
  let lookAgain = false
  let ownInFlight = false
  /** The next row is an own one that the writer is about to hand over: reading on is of no use before. */
  let ownIsNext = false
  let started = false
  let reading: Promise<void> | undefined
  let ticker: Disposable | undefined

  function advance(rows: readonly LogRow[], upTo: Position): void {
    position = upTo
    if (rows.length > 0) {
      for (const { name, onRows } of subscribers.values()) {
        try {
          onRows(rows)
        } catch (error) {
          // A subscriber that throws is a defect; it must not keep the others from their rows.
          log.error({ error, subscriber: name, position: upTo }, 'subscriber of the log threw')
        }
      }
    }
    waiters.passed(upTo)
  }

  /** Hands over own batches as long as nothing of others is missing before them. */
  function deliverOwn(): void {
    for (let next = own[0]; next !== undefined && next.batch.before <= position; next = own[0]) {
      own.shift()
      const last = next.batch.rows.at(-1)?.position ?? position
      if (last > position) advance(after(next.batch.rows, position), last)
      next.passed()
    }
  }

  function wanted(): boolean {
    if (!started || stopping.signal.aborted || ownIsNext) return false
    return lookAgain || hinted > position || own.length > 0
  }

  function follow(): void {
    if (reading !== undefined || !wanted()) return
    reading = readOn().finally(() => {
      reading = undefined
      follow()
    })
  }

  async function readOn(): Promise<void> {
    while (wanted()) {
      try {
        await readPage()
      } catch (error) {
        if (stopping.signal.aborted) return
        log.warn({ error, position }, 'log could not be read')
        lookAgain = true
        await clock.sleep(tailLimits.retryMs, stopping.signal).catch(() => {})
      }
    }
  }

  async function readPage(): Promise<void> {
    lookAgain = false
    const from = position
    const hintedBefore = hinted
    const final = own[0]?.batch.before ?? 0
    const page = await rowsAfter(db, from, tailLimits.pageRows)
    const whole = page.length < tailLimits.pageRows
    const rows = await withPayloads(page)
    if (stopping.signal.aborted) return
    const fresh = after(rows, position)
    const last = fresh.at(-1)?.position ?? position
    const complete = whole && rows.length === page.length
    // Nothing can appear at or below `final` any more: gaps in front of an own batch are passed with it.
    const upTo = complete ? Math.max(last, final) : last
    if (upTo > position) advance(fresh, upTo)
    // A hint beyond what can be read (a lie, or a position of a lost future) is not followed for ever.
    if (complete && hinted === hintedBefore && hinted > position) hinted = position
    if (!whole) lookAgain = true
    deliverOwn()
    const next = page[rows.length]
    ownIsNext = next !== undefined && next.position > position && ownInFlight
  }

  /** The page with payloads; ends in front of an own row that the writer is about to hand over. */
  async function withPayloads(page: readonly StoredLogRow[]): Promise<LogRow[]> {
    const handed = new Map<Position, LogRow>()
    for (const { batch } of own) for (const row of batch.rows) handed.set(row.position, row)
    const early = page.findIndex(
      (row) => row.process === self && ownInFlight && !handed.has(row.position),
    )
    const rows = (early === -1 ? page : page.slice(0, early)).map(parseRow)
    const loaded = await loaders.load(rows.filter((row) => !handed.has(row.position)))
    let next = 0
    return rows.map((row) => handed.get(row.position) ?? loaded[next++] ?? row)
  }

  return {
    get position() {
      return position
    },
    subscribe(name, onRows) {
      const key = Symbol(name)
      subscribers.set(key, { name, onRows })
      return { [Symbol.dispose]: () => void subscribers.delete(key) }
    },
    reached: (wantedPosition, timeoutMs) =>
      position >= wantedPosition ? Promise.resolve(true) : waiters.wait(wantedPosition, timeoutMs),
    loader(kind, loadRows) {
      if (started) throw new Error('loaders are set before the tail starts')
      loaders.set(kind, loadRows)
    },
    async read(from, limit) {
      const rows = await rowsAfter(db, from, Math.min(limit, tailLimits.pageRows))
      return loaders.load(rows.map(parseRow))
    },
    oldest: () => oldestPosition(db),
    async start() {
      position = await newestPosition(db)
      started = true
      ticker = clock.every(tailLimits.pollMs, () => {
        lookAgain = true
        follow()
      })
      deliverOwn()
      follow()
    },
    hint(at) {
      if (at > hinted) hinted = at
      follow()
    },
    look() {
      lookAgain = true
      follow()
    },
    async catchUp() {
      const head = await newestPosition(db)
      while (position < head && !stopping.signal.aborted) {
        lookAgain = true
        follow()
        await waiters.wait(head, tailLimits.pollMs)
      }
    },
    sending() {
      ownInFlight = true
    },
    settled() {
      ownInFlight = false
      ownIsNext = false
      follow()
    },
    deliver(batch, passed) {
      own.push({ batch, passed })
      deliverOwn()
      follow()
    },
    async [Symbol.asyncDispose]() {
      stopping.abort()
      ticker?.[Symbol.dispose]()
      waiters.stop()
      await reading
    },
  }
}

function after(rows: readonly LogRow[], position: Position): readonly LogRow[] {
  const first = rows.findIndex((row) => row.position > position)
  if (first === 0) return rows
  return first === -1 ? [] : rows.slice(first)
}
