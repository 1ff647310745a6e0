/**
 * The only door to Postgres. A unit of work is one statement, or a transaction that refuses everything once it has
 * failed. Every statement has a deadline; dead and half-open connections are replaced; a lost connection never
 * ends the process.
 */

/** A row as the driver returns it: snake_case columns; bigint columns arrive as numbers (they stay below 2^53). */
export type Row = Record<string, unknown>

/** A pool or a transaction: a tagged template that runs one statement and resolves to its rows. */
export interface Db {
  <T extends object = Row>(strings: TemplateStringsArray, ...values: readonly unknown[]): Promise<T[]>
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
  listen(channel: string, onNotify: (payload: string) => void, onLost: () => void): Promise<AsyncDisposable>
}
