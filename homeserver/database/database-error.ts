/**
 * Why a statement or a transaction did not succeed.
 * - `refused`: Postgres answered with an error (`code`, `constraint`); nothing of it was done.
 * - `deadline`: it took too long. `outcome` says whether it may have been done.
 * - `connection_lost`: the connection died after the statement was sent.
 * - `unavailable`: no connection could be had in time; the statement was never sent.
 * - `overloaded`: too many callers wait for a connection; the statement was never sent.
 * - `transaction_over`: the transaction has failed, ended or lost its connection before this statement.
 * - `closed`: the pool has been closed.
 */
export type DatabaseErrorKind =
  | 'refused'
  | 'deadline'
  | 'connection_lost'
  | 'unavailable'
  | 'overloaded'
  | 'transaction_over'
  | 'closed'

/** The only error that the database wrapper throws. Its message may name tables and columns, never values. */
export class DatabaseError extends Error {
  override readonly name = 'DatabaseError'
  readonly kind: DatabaseErrorKind
  /** `none`: nothing was done, it may be tried again. `unknown`: look before trying again. */
  readonly outcome: 'none' | 'unknown'
  /** SQLSTATE of a refusal, e.g. 23505 for a unique violation. */
  readonly code: string | undefined
  /** The violated constraint's name. */
  readonly constraint: string | undefined

  constructor(
    kind: DatabaseErrorKind,
    message: string,
    details: {
      outcome?: 'none' | 'unknown'
      code?: string
      constraint?: string | undefined
      cause?: unknown
    } = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.kind = kind
    this.outcome = details.outcome ?? (kind === 'connection_lost' ? 'unknown' : 'none')
    this.code = details.code
    this.constraint = details.constraint
  }
}

/** True for a violated unique constraint (of this name, when one is given). */
export function isUniqueViolation(error: unknown, constraint?: string): error is DatabaseError {
  return (
    error instanceof DatabaseError &&
    error.code === '23505' &&
    (constraint === undefined || error.constraint === constraint)
  )
}
