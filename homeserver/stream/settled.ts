import { MatrixError } from '../../spec/errors.ts'
import type { Db } from '../database/database.ts'
import type { LogWrite, LogWriter, Position, Verdict } from './log.ts'
import { findOnce } from './queries.ts'

/**
 * Writes what has no fence and cannot be a repetition. Answers the positions; throws M_UNKNOWN when the database
 * refused the write, M_LIMIT_EXCEEDED when the writer's queue is full.
 */
export async function writeDone(
  log: Pick<LogWriter, 'write'>,
  write: LogWrite,
): Promise<readonly Position[]> {
  const verdict = await log.write(write)
  if (verdict.kind === 'done') return verdict.positions
  throw refusal(verdict)
}

/** Why a write was not done, as an error for the caller. */
export function refusal(verdict: Exclude<Verdict, { kind: 'done' }>): MatrixError {
  if (verdict.kind === 'refused' && verdict.message === 'overloaded') {
    return new MatrixError('M_LIMIT_EXCEEDED', 'the server is overloaded', {
      fields: { retry_after_ms: 1000 },
    })
  }
  return new MatrixError('M_UNKNOWN', `the write was ${verdict.kind}`)
}

/** The answer that the first write with this key gave, if there was one. */
export function firstAnswer(
  db: Db,
  { scope, key }: Pick<NonNullable<LogWrite['once']>, 'scope' | 'key'>,
): Promise<string | undefined> {
  return findOnce(db, scope, key)
}
