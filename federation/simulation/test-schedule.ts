/**
 * Virtual time for several servers in one process: one thing happens after the other, and the next only when nothing
 * that the last one brought about is still at work (statements of the database are the only work in real time).
 */

import type { Database, Db } from '../../homeserver/database/database.ts'
import { createDb } from '../../homeserver/database/transaction.ts'
import type { Clock } from '../../homeserver/platform/clock.ts'

export interface Schedule {
  /** Milliseconds since the epoch. */
  readonly now: number
  at(dueMs: number, run: () => void): Disposable
  /** Lets time pass. */
  advance(ms: number): Promise<void>
  /** A clock that is wrong by what `skewMs` says at the time. */
  clock(skewMs?: () => number): Clock
  /** The database, with its statements counted as work. */
  watched(db: Database): Database
}

/** Tickers are not called more often: a slow machine's are not either. */
const tickDefaultMs = 5_000
/** Turns of the event loop without a statement after which nothing is at work. */
const calmTurns = 4

interface Due {
  readonly dueMs: number
  readonly run: () => void
}

export function createSchedule(startMs: number, tickMinMs = tickDefaultMs): Schedule {
  const waiting = new Set<Due>()
  let now = startMs
  let running = 0
  let ended: (() => void) | undefined

  async function settle(): Promise<void> {
    for (let calm = 0; calm < calmTurns; calm++) {
      await new Promise((resolve) => setImmediate(resolve))
      if (running === 0) continue
      await new Promise<void>((resolve) => {
        ended = resolve
      })
      calm = -1
    }
  }

  async function counted<T>(work: Promise<T>): Promise<T> {
    running++
    try {
      return await work
    } finally {
      running--
      if (running === 0) ended?.()
    }
  }

  function at(dueMs: number, run: () => void): Disposable {
    const due = { dueMs: Math.max(dueMs, now), run }
    waiting.add(due)
    return { [Symbol.dispose]: () => void waiting.delete(due) }
  }

  function earliest(): number {
    let first = Number.POSITIVE_INFINITY
    for (const { dueMs } of waiting) first = Math.min(first, dueMs)
    return first
  }

  function every(ms: number, tick: () => void): Disposable {
    const stepMs = Math.ceil(ms / tickMinMs) * tickMinMs
    // All tickers stand on one grid, so that they are called together.
    const nextDue = () => (Math.floor(now / stepMs) + 1) * stepMs
    let next: Disposable
    const run = () => {
      next = at(nextDue(), run)
      tick()
    }
    next = at(nextDue(), run)
    return { [Symbol.dispose]: () => next[Symbol.dispose]() }
  }

  return {
    get now() {
      return now
    },
    at,
    async advance(ms) {
      await settle()
      const end = now + ms
      for (let dueMs = earliest(); dueMs <= end; dueMs = earliest()) {
        now = dueMs
        for (const due of [...waiting].filter((one) => one.dueMs === dueMs)) {
          if (waiting.delete(due)) due.run()
        }
        await settle()
      }
      now = end
    },
    clock: (skewMs = () => 0) => ({
      now: () => Math.round(now + skewMs()),
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          if (signal?.aborted) return reject(signal.reason)
          const timer = at(now + ms, resolve)
          signal?.addEventListener('abort', () => {
            timer[Symbol.dispose]()
            reject(signal.reason)
          })
        }),
      every,
    }),
    watched: (db) =>
      Object.assign(
        createDb((text, values) => counted(db.query(text, values))),
        {
          transaction: <T>(work: (tx: Db) => Promise<T>) => counted(db.transaction(work)),
          listen: db.listen,
          [Symbol.asyncDispose]: async () => {},
        },
      ),
  }
}
