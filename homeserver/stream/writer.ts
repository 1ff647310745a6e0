import type { Database } from '../database/database.ts'
import { DatabaseError } from '../database/database-error.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Random } from '../platform/random.ts'
import { type EncodedWrite, encodeWrite, readAnswer } from './batch.ts'
import type { LogRow, LogWrite, LogWriter, Position, Processes, Verdict } from './log.ts'
import { type Pending, WriteQueue } from './queue.ts'
import { type Judged, RoomBreaks, tell } from './room-breaks.ts'
import { BatchSender } from './sender.ts'
import type { RunningTail } from './tail.ts'

/**
 * The log writer of this process: collects what becomes ready while the previous commit is in flight and commits it as
 * one batch. A batch whose outcome is unknown is sent again under its id until the outcome is known, so no write ever
 * gets a wrong verdict; a batch that raises is halved down to the guilty write.
 */

export const logWriterLimits = {
  writesPerBatch: 512,
  bytesPerBatch: 4 * 1024 * 1024,
  /** A larger write is refused; one between this and `bytesPerBatch` goes alone. */
  bytesPerWrite: 32 * 1024 * 1024,
  /** Writes and bytes that may wait; more are refused as overloaded. */
  queuedWrites: 50_000,
  queuedBytes: 128 * 1024 * 1024,
  /** When the outcome of a batch is unknown for longer, what waits behind it is refused until it is known. */
  unknownMs: 20_000,
  /** How long the stop waits for what is queued. */
  drainMs: 8_000,
} as const

/** Tells other processes that a position exists; hints only. */
export interface Wake {
  /** Have the commit itself notify. */
  readonly inCommit: boolean
  publish(position: Position): void
}

/** Resolves when the other live processes have seen a position, or after the wait that this is worth; never rejects. */
export interface Acks {
  seenByOthers(position: Position): Promise<void>
  /** All other live processes answered of late: they hear of each position by being asked, and need no hint besides. */
  readonly reachesAll: boolean
}

interface Needs {
  /** A pool of its own, so that no slow query is in front of a commit. */
  readonly db: Database
  readonly tail: RunningTail
  readonly processes: Pick<Processes, 'self' | 'alone'>
  readonly clock: Clock
  readonly log: Logger
  readonly random: Random
  readonly wake?: Wake
  readonly acks?: Acks
}

export function createLogWriter(needs: Needs): LogWriter & AsyncDisposable {
  return new Writer(needs)
}

class Writer implements LogWriter, AsyncDisposable {
  readonly #needs: Needs
  readonly #sender: BatchSender
  readonly #queue = new WriteQueue()
  readonly #breaks = new RoomBreaks(this.#queue)
  readonly #stop = new AbortController()
  /** Refusals that wait until what is in flight is settled. */
  #afterFlight: (() => void)[] = []
  #unknown = false
  #closing = false
  #running: Promise<void> | undefined

  constructor(needs: Needs) {
    this.#needs = needs
    const { db, clock, log, random, processes, wake } = needs
    this.#sender = new BatchSender({
      db,
      clock,
      log,
      random,
      self: processes.self,
      notifies: () => wake?.inCommit === true && this.#needsHints(),
      onUnknown: (forMs) => {
        if (forMs > logWriterLimits.unknownMs) this.#refuseQueued()
      },
      stop: this.#stop.signal,
    })
  }

  readonly write = (write: LogWrite): Promise<Verdict> => {
    if (this.#closing) return Promise.reject(stopped())
    const encoded = tryEncode(write)
    return new Promise((resolve, reject) => {
      const room = write.fence?.room
      if (typeof encoded === 'string') {
        this.#refuse({ encoded: nothing, room, resolve, reject }, encoded)
        return
      }
      const pending = { encoded, room, resolve, reject }
      if (this.#unknown || this.#isFull(encoded)) this.#refuse(pending, 'overloaded')
      else if (!this.#breaks.keeps(pending)) {
        this.#queue.push(pending)
        this.#running ??= this.#run()
      }
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true
    const drained = new AbortController()
    const { clock } = this.#needs
    const deadline = clock.sleep(logWriterLimits.drainMs, drained.signal).catch(() => {})
    await Promise.race([this.#running, deadline])
    drained.abort()
    this.#stop.abort()
    await this.#running
    rejectAll(this.#queue.clear())
  }

  #isFull({ sizeBytes }: EncodedWrite): boolean {
    return (
      this.#queue.length >= logWriterLimits.queuedWrites ||
      this.#queue.sizeBytes + sizeBytes > logWriterLimits.queuedBytes
    )
  }

  async #run(): Promise<void> {
    const { writesPerBatch: writes, bytesPerBatch: bytes } = logWriterLimits
    while (this.#queue.length > 0 && !this.#stop.signal.aborted) {
      // One turn of the event loop: the writes of everybody who became ready together go together.
      await new Promise((resolve) => setImmediate(resolve))
      await this.#commit(this.#queue.take({ writes, bytes }), new Set())
      this.#unknown = false
      for (const act of this.#afterFlight.splice(0)) act()
    }
    this.#running = undefined
  }

  /** Commits writes of one flight; `broken` holds the rooms in which something of this flight was refused. */
  async #commit(flight: readonly Pending[], broken: Set<string>): Promise<void> {
    const isChained = ({ room }: Pending) => room !== undefined && broken.has(room)
    const chained = flight.filter(isChained)
    if (chained.length > 0) {
      const verdicts = chained.map((): Verdict => ({ kind: 'chained' }))
      this.#settle(chained, verdicts, broken)
    }
    const writes = flight.filter((pending) => !isChained(pending))
    if (writes.length === 0) return
    const error = await this.#send(writes, broken)
    if (error === undefined) return
    if (writes.length === 1) {
      const { log } = this.#needs
      log.error({ error, room: writes[0]?.room }, 'write was refused by the database')
      this.#settle(writes, [refused(error.message)], broken)
      return
    }
    const half = Math.ceil(writes.length / 2)
    await this.#commit(writes.slice(0, half), broken)
    await this.#commit(writes.slice(half), broken)
  }

  /** Sends one batch and settles its writes, or answers what the database raised. */
  async #send(writes: readonly Pending[], broken: Set<string>): Promise<DatabaseError | undefined> {
    const { tail } = this.#needs
    const encoded = writes.map((pending) => pending.encoded)
    tail.sending()
    try {
      const answer = await this.#sender.send(encoded)
      if (answer instanceof DatabaseError) return answer
      if (answer === undefined) rejectAll(writes)
      else {
        const { verdicts, rows } = readAnswer(encoded, answer)
        this.#settle(writes, verdicts, broken, rows, answer.before)
      }
      return undefined
    } finally {
      tail.settled()
    }
  }

  /**
   * Hands the rows to the tail, and the verdicts to the callers when the tail has passed them: whoever rebuilds after a
   * refusal finds everything that is stored. What is written to a room between its refusal and that moment is chained.
   */
  #settle(
    writes: readonly Pending[],
    verdicts: readonly Verdict[],
    broken: Set<string>,
    rows: readonly LogRow[] = [],
    before: Position = 0,
  ): void {
    const { tail, processes, wake, acks } = this.#needs
    const bad: Judged[] = []
    const done: Judged[] = []
    writes.forEach((pending, w) => {
      const verdict = verdicts[w] ?? { kind: 'chained' }
      if (verdict.kind === 'done') done.push([pending, verdict])
      else bad.push([pending, verdict])
    })
    for (const [{ room }] of bad) if (room !== undefined) broken.add(room)
    const tellBad = this.#breaks.break(bad)
    const last = rows.at(-1)?.position
    tail.deliver({ before, rows }, () => {
      // Refusals first: whoever is resumed by a done write must not find a room that is about to break.
      tellBad()
      if (last === undefined || processes.alone || acks === undefined) tell(done)
      // Never rejects.
      else void acks.seenByOthers(last).then(() => tell(done))
    })
    if (last !== undefined && wake?.inCommit === false && this.#needsHints()) wake.publish(last)
  }

  #needsHints(): boolean {
    const { processes, acks } = this.#needs
    return !processes.alone && acks?.reachesAll !== true
  }

  /**
   * Refuses a write that was not sent. In a room its verdict, too, comes after those of all writes before it, and takes
   * along what is queued.
   */
  #refuse(pending: Pending, message: string): void {
    if (pending.room === undefined) pending.resolve(refused(message))
    else if (!this.#breaks.keeps(pending)) {
      const tellBad = this.#breaks.break([[pending, refused(message)]])
      const act = () => this.#needs.tail.deliver({ before: 0, rows: [] }, tellBad)
      if (this.#running === undefined) act()
      else this.#afterFlight.push(act)
    }
  }

  #refuseQueued(): void {
    this.#unknown = true
    for (const pending of this.#queue.clear()) this.#refuse(pending, 'overloaded')
  }
}

const nothing: EncodedWrite = encodeWrite({ entries: [] })

function tryEncode(write: LogWrite): EncodedWrite | string {
  try {
    const encoded = encodeWrite(write)
    return encoded.sizeBytes > logWriterLimits.bytesPerWrite ? 'write is too large' : encoded
  } catch (error) {
    return error instanceof Error ? error.message : 'write is no JSON'
  }
}

function refused(message: string): Verdict {
  return { kind: 'refused', message }
}

function stopped(): Error {
  return new Error('the log writer has stopped')
}

function rejectAll(writes: readonly Pending[]): void {
  for (const { reject } of writes) reject(stopped())
}
