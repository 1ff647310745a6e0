import type { Database } from '../database/database.ts'
import { DatabaseError } from '../database/database-error.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Random } from '../platform/random.ts'
import { BatchAnswer, type EncodedWrite, encodeBatch, encodeWrite, readAnswer } from './batch.ts'
import type { LogRow, LogWrite, LogWriter, Position, Processes, Verdict } from './log.ts'
import { type BatchTexts, commitBatch, releaseStalledLock } from './queries.ts'
import { type Pending, WriteQueue } from './queue.ts'
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
  /**
   * When the outcome of a batch is unknown for longer, what waits behind it is refused until it is known. An attempt
   * counts at most `attemptMs`: a process that was paused has not been trying.
   */
  unknownMs: 20_000,
  attemptMs: 6_000,
  /** A commit that takes longer makes us look for a paused holder of the lock. */
  stalledMs: 1_500,
  /** A batch that is cancelled for its time this often is halved like one that raises. */
  timeoutsMax: 3,
  retryMinMs: 20,
  retryMaxMs: 500,
  /** How long the stop waits for what is queued. */
  drainMs: 8_000,
} as const

/** Tells other processes that a position exists; hints only. */
export interface Wake {
  /** Have the commit itself notify. */
  readonly inCommit: boolean
  publish(position: Position): void
}

/** Resolves when the other live processes have seen a position, or after the wait that this is worth. */
export interface Acks {
  seenByOthers(position: Position): Promise<void>
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
  const { db, tail, processes, clock, log, random, wake, acks } = needs
  const queue = new WriteQueue()
  const stop = new AbortController()
  const prefix = `${processes.self}.`
  let batches = 0
  let closing = false
  /** For how long the outcome of the batch in flight could not be learnt. */
  let unknownForMs = 0
  let running: Promise<void> | undefined
  /** Rooms with a refusal that its caller does not know of yet, and what was written there since. */
  const breaking = new Map<string, Pending[]>()

  function write(one: LogWrite): Promise<Verdict> {
    if (closing) return Promise.reject(new Error('the log writer has stopped'))
    const encoded = tryEncode(one)
    if (typeof encoded === 'string') return Promise.resolve(refused(encoded))
    const full =
      queue.length >= logWriterLimits.queuedWrites ||
      queue.sizeBytes + encoded.sizeBytes > logWriterLimits.queuedBytes
    if (full || unknownForMs > logWriterLimits.unknownMs)
      return Promise.resolve(refused('overloaded'))
    return new Promise((resolve, reject) => {
      const pending = { encoded, room: one.fence?.room, resolve, reject }
      const chained = breaking.get(one.fence?.room ?? '')
      if (chained !== undefined) {
        chained.push(pending)
        return
      }
      queue.push(pending)
      running ??= run()
    })
  }

  async function run(): Promise<void> {
    while (queue.length > 0 && !stop.signal.aborted) {
      // One turn of the event loop: the writes of everybody who became ready together go together.
      await new Promise((resolve) => setImmediate(resolve))
      const { writesPerBatch: writes, bytesPerBatch: bytes } = logWriterLimits
      await commit(queue.take({ writes, bytes }), new Set())
    }
    running = undefined
  }

  /** Commits writes of one flight; `broken` holds the rooms in which something of this flight was refused. */
  async function commit(flight: readonly Pending[], broken: Set<string>): Promise<void> {
    const isChained = ({ room }: Pending) => room !== undefined && broken.has(room)
    const writes = flight.filter((pending) => !isChained(pending))
    const chained = flight.filter(isChained)
    if (chained.length > 0) settle(chained, chained.map(chainedVerdict), [], broken)
    if (writes.length === 0) return
    tail.sending()
    let answer: BatchAnswer | DatabaseError | undefined
    try {
      answer = await send(writes.map(({ encoded }) => encoded))
      if (answer === undefined) return rejectAll(writes)
      if (!(answer instanceof DatabaseError)) {
        const outcome = readAnswer(
          writes.map(({ encoded }) => encoded),
          answer,
        )
        settle(writes, outcome.verdicts, outcome.rows, broken, answer.before)
        return
      }
    } finally {
      tail.settled()
    }
    if (writes.length === 1) {
      log.error({ error: answer, room: writes[0]?.room }, 'write was refused by the database')
      settle(writes, [refused(answer.message)], [], broken)
      return
    }
    const half = Math.ceil(writes.length / 2)
    await commit(writes.slice(0, half), broken)
    await commit(writes.slice(half), broken)
  }

  /** The answer of the database; what it raised; undefined when stopped before the outcome was known. */
  async function send(
    writes: readonly EncodedWrite[],
  ): Promise<BatchAnswer | DatabaseError | undefined> {
    const texts: BatchTexts = {
      id: `${prefix}${++batches}.${random.text(8)}`,
      process: processes.self,
      ...encodeBatch(writes),
      notify: !processes.alone && (wake?.inCommit ?? false),
    }
    let timeouts = 0
    try {
      for (let waitMs: number = logWriterLimits.retryMinMs; ; waitMs = longer(waitMs)) {
        const sentAt = clock.now()
        try {
          return BatchAnswer.parse(await watched(commitBatch(db, texts)))
        } catch (error) {
          if (!(error instanceof DatabaseError)) throw error
          if (error.code === '57014') timeouts += 1
          if (isPoison(error) || timeouts >= logWriterLimits.timeoutsMax) return error
          log.warn({ error, batch: texts.id, writes: writes.length }, 'batch is sent again')
          unknownForMs += waitMs + Math.min(clock.now() - sentAt, logWriterLimits.attemptMs)
          if (unknownForMs > logWriterLimits.unknownMs) refuseQueued()
          await clock.sleep(waitMs, stop.signal).catch(() => {})
          if (stop.signal.aborted) return undefined
        }
      }
    } finally {
      unknownForMs = 0
    }
  }

  /** Frees the log's lock from a paused process while a commit takes too long. */
  async function watched<T>(work: Promise<T>): Promise<T> {
    const watch = clock.every(logWriterLimits.stalledMs, () => {
      releaseStalledLock(db).then(
        (released) => {
          if (released > 0) log.warn({ released }, 'paused holder of the log was ended')
        },
        (error: unknown) => log.warn({ error }, 'holder of the log is unknown'),
      )
    })
    try {
      return await work
    } finally {
      watch[Symbol.dispose]()
    }
  }

  /**
   * Hands the rows to the tail, and the verdicts to the callers when the tail has passed them: whoever rebuilds after a
   * refusal finds everything that is stored. What is written to a room between its refusal and that moment is chained.
   */
  function settle(
    writes: readonly Pending[],
    verdicts: readonly Verdict[],
    rows: readonly LogRow[],
    broken: Set<string>,
    before: Position = 0,
  ): void {
    const bad: [Pending, Verdict][] = []
    const done: [Pending, Verdict][] = []
    writes.forEach((pending, w) => {
      const verdict = verdicts[w] ?? chainedVerdict()
      if (verdict.kind === 'done') done.push([pending, verdict])
      else bad.push([pending, verdict])
    })
    const tellBad = bad.length === 0 ? () => {} : breakRooms(bad, broken)
    const last = rows.at(-1)?.position
    tail.deliver({ before, rows }, () => {
      // Refusals first: whoever is resumed by a done write must not find a room that is about to break.
      tellBad()
      if (last === undefined || processes.alone || acks === undefined) tell(done)
      // Never rejects.
      else void acks.seenByOthers(last).then(() => tell(done))
    })
    if (last !== undefined && !processes.alone && wake?.inCommit === false) wake.publish(last)
  }

  /** Takes what hangs on refused writes out of the queue; the answer tells all their callers. */
  function breakRooms(bad: [Pending, Verdict][], broken: Set<string>): () => void {
    const rooms = new Set(bad.flatMap(([{ room }]) => room ?? []))
    for (const room of rooms) {
      broken.add(room)
      if (!breaking.has(room)) breaking.set(room, [])
    }
    for (const pending of queue.takeChained(rooms)) breaking.get(pending.room ?? '')?.push(pending)
    return () => {
      tell(bad)
      for (const room of rooms) {
        for (const { resolve } of breaking.get(room) ?? []) resolve(chainedVerdict())
        breaking.delete(room)
      }
    }
  }

  function refuseQueued(): void {
    for (const { resolve } of queue.clear()) resolve(refused('overloaded'))
  }

  return {
    write,
    async [Symbol.asyncDispose]() {
      closing = true
      const drained = new AbortController()
      const deadline = clock.sleep(logWriterLimits.drainMs, drained.signal).catch(() => {})
      await Promise.race([running, deadline])
      drained.abort()
      stop.abort()
      await running
      rejectAll(queue.clear())
    },
  }
}

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

function longer(waitMs: number): number {
  return Math.min(waitMs * 2, logWriterLimits.retryMaxMs)
}

function chainedVerdict(): Verdict {
  return { kind: 'chained' }
}

function tell(verdicts: readonly (readonly [Pending, Verdict])[]): void {
  for (const [{ resolve }, verdict] of verdicts) resolve(verdict)
}

function rejectAll(writes: readonly Pending[]): void {
  for (const { reject } of writes) reject(new Error('the log writer has stopped'))
}

/**
 * SQLSTATE classes of errors that a batch brings upon itself: bad data (22), violated constraints (23), missing
 * functions and columns (42), raised errors (P0), limits of the server (54), what is not supported (0A, 0F), internal
 * errors (XX). Others, and errors without a code, pass: the same batch is sent again.
 */
const poisonClasses = new Set(['0A', '0F', '21', '22', '23', '42', '44', '54', 'P0', 'XX'])

function isPoison(error: DatabaseError): boolean {
  return error.kind === 'refused' && poisonClasses.has(error.code?.slice(0, 2) ?? '')
}
