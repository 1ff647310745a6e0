/**
 * Answers to transactions of other servers. A transaction that is sent again, because its answer was lost, gets the
 * first answer; each of its effects is idempotent by itself, so the answers may be stored a moment later.
 */
import { LRUCache } from 'lru-cache'
import type { ServerName } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import { atMost } from '../platform/cache.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import { findAnswer, insertAnswers, pruneAnswers } from './queries.ts'

export interface InboundAnswers extends AsyncDisposable {
  /** The answer already given to this transaction, or `answer()`, which is then kept. */
  once(origin: ServerName, txnId: string, answer: () => Promise<string>): Promise<string>
}

/** Answers in memory. */
const answersMax = 20_000
/** Answers that wait to be stored; beyond that they are not. */
const unstoredMax = 10_000
const storeEveryMs = 200
const keepMs = 24 * 3_600_000
const pruneEveryMs = 60_000
const pruneRows = 20_000

export function createInboundAnswers({
  db,
  clock,
  log,
}: {
  readonly db: Database
  readonly clock: Clock
  readonly log: Logger
}): InboundAnswers {
  const known = new LRUCache<string, Promise<string>>({ ...atMost(answersMax) })
  let unstored: { origin: ServerName; txn_id: string; answer: string }[] = []

  async function store(): Promise<void> {
    if (unstored.length === 0) return
    const rows = unstored
    unstored = []
    try {
      await insertAnswers(db, JSON.stringify(rows))
    } catch (error) {
      log.warn({ error, lost: rows.length }, 'answers to transactions could not be stored')
    }
  }

  /** The look into the database runs beside the work: only repeats pay for it, with work that has no effect. */
  async function answerOnce(origin: ServerName, txnId: string, answer: () => Promise<string>) {
    const stored = findAnswer(db, origin, txnId).catch(() => undefined)
    const fresh = await answer()
    const first = await stored
    if (first !== undefined) return first
    if (unstored.length < unstoredMax) unstored.push({ origin, txn_id: txnId, answer: fresh })
    return fresh
  }

  const timers = [
    clock.every(storeEveryMs, () => void store()), // store() handles its errors
    clock.every(pruneEveryMs, () => {
      pruneAnswers(db, keepMs, pruneRows).catch((error: unknown) => {
        log.warn({ error }, 'old answers could not be pruned')
      })
    }),
  ]
  return {
    once(origin, txnId, answer) {
      const key = `${origin} ${txnId}`
      const before = known.get(key)
      if (before) return before
      const now = answerOnce(origin, txnId, answer)
      known.set(key, now)
      now.catch(() => known.delete(key))
      return now
    },
    async [Symbol.asyncDispose]() {
      for (const timer of timers) timer[Symbol.dispose]()
      await store()
    },
  }
}
