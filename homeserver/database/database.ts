import type { Connection } from './connection.ts'
import { DatabaseError } from './database-error.ts'
import { openListener } from './listener.ts'
import { Pool } from './pool.ts'
import { onlyReads } from './retry.ts'
import { createDb, runTransaction } from './transaction.ts'

/**
 * The only door to Postgres. A unit of work is one statement, or a transaction that refuses everything once it has
 * failed. Every statement has a deadline; dead and half-open connections are replaced; a lost connection never
 * ends the process.
 */

/** A row as the driver returns it: snake_case columns; bigint columns arrive as numbers (they stay below 2^53). */
export type Row = Record<string, unknown>

/**
 * A pool or a transaction: a tagged template that runs one statement and resolves to its rows. Rejects with
 * DatabaseError. The server infers the parameters' types; arrays work as `any(${ids})` and `unnest(${ids}::text[])`.
 * An object for a json or jsonb parameter is serialised, and so is a string: JSON that is text already goes as
 * `${text}::text::jsonb`.
 */
export interface Db {
  <T extends object = Row>(
    strings: TemplateStringsArray,
    ...values: readonly unknown[]
  ): Promise<T[]>
  /**
   * Runs `sql` (with $1…$n) as a named prepared statement.
   */
  query<T extends object = Row>(sql: string, values: readonly unknown[]): Promise<T[]>
}

/** The pool. */
export interface Database extends Db, AsyncDisposable {
  /**
   * Runs `work` in a transaction; commits when it resolves, rolls back when it throws. After a failure or a lost
   * connection every further statement of this transaction is refused with DatabaseError 'transaction_over'.
   */
  transaction<T>(work: (tx: Db) => Promise<T>): Promise<T>
  /** One connection that listens; calls `onNotify` for each payload and `onLost` whenever it had to reconnect. */
  listen(
    channel: string,
    onNotify: (payload: string) => void,
    onLost: () => void,
  ): Promise<AsyncDisposable>
}

/** What a pool is made with; times in milliseconds. */
export interface DatabaseSettings {
  /** postgres://user:password@host:port/database */
  readonly url: string
  /** Most connections at a time, listeners not counted. */
  readonly connections: number
  /** Shown in pg_stat_activity. */
  readonly applicationName: string
  /** Longest time to set up one connection. */
  readonly connectMs: number
  /** Longest wait for a free connection, attempts to reconnect included. */
  readonly acquireMs: number
  /** Most callers that wait for a connection; more are refused as 'overloaded'. */
  readonly waitersMax: number
  /** The server cancels a statement after this long; a second later a silent connection is dropped. */
  readonly statementMs: number
  /** Longest life of a transaction. */
  readonly transactionMs: number
  /** How long closing waits for what is in flight. */
  readonly closeMs: number
}

const defaults: Omit<DatabaseSettings, 'url'> = {
  connections: 10,
  applicationName: 'folkmoot',
  connectMs: 5_000,
  acquireMs: 10_000,
  waitersMax: 10_000,
  statementMs: 30_000,
  transactionMs: 60_000,
  closeMs: 5_000,
}

/** The client waits this much longer than the server, so that a slow statement is cancelled and not cut off. */
const graceMs = 1_000
/** How often a statement that was never sent, or only reads, is moved to another connection. */
const attemptsMax = 3

/** Opens a pool; it connects when it is first used. */
export function createDatabase(
  settings: { url: string } & Partial<Omit<DatabaseSettings, 'url'>>,
): Database {
  const all: DatabaseSettings = { ...defaults, ...settings }
  const pool = new Pool(all)
  const deadlineMs = all.statementMs + graceMs
  const limits = { statementMs: deadlineMs, transactionMs: all.transactionMs }
  const db = createDb((text, values) => runAlone(pool, text, values, deadlineMs))
  return Object.assign(db, {
    transaction: async <T>(work: (tx: Db) => Promise<T>): Promise<T> => {
      const connection = await begin(pool, deadlineMs)
      try {
        return await runTransaction(connection, work, limits)
      } finally {
        pool.release(connection)
      }
    },
    listen: (channel: string, onNotify: (payload: string) => void, onLost: () => void) =>
      openListener(all, channel, onNotify, onLost),
    [Symbol.asyncDispose]: () => pool.close(),
  })
}

/** One autocommitted statement. It is sent again only if it was never sent or does nothing but read. */
async function runAlone<T extends object>(
  pool: Pool,
  text: string,
  values: readonly unknown[],
  deadlineMs: number,
): Promise<T[]> {
  for (let attempt = 1; ; attempt++) {
    const connection = await pool.acquire()
    try {
      return await connection.run<T>(text, values, deadlineMs)
    } catch (error) {
      if (attempt >= attemptsMax || !mayRepeat(error, text)) throw error
    } finally {
      pool.release(connection)
    }
  }
}

function mayRepeat(error: unknown, text: string): boolean {
  if (!(error instanceof DatabaseError) || error.kind !== 'connection_lost') return false
  return error.outcome === 'none' || onlyReads(text)
}

/** A connection with an open transaction; a begin that was lost on the way has done nothing. */
async function begin(pool: Pool, deadlineMs: number): Promise<Connection> {
  for (let attempt = 1; ; attempt++) {
    const connection = await pool.acquire()
    try {
      await connection.run('begin', [], deadlineMs)
      return connection
    } catch (error) {
      pool.release(connection)
      const lost = error instanceof DatabaseError && error.kind === 'connection_lost'
      if (!lost || attempt >= attemptsMax) throw error
    }
  }
}
