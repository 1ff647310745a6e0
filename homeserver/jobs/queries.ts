import type { JsonObject } from '../../spec/json.ts'
import type { Db } from '../database/database.ts'

/** A job that this process has a lease on. */
export interface TakenJob {
  readonly id: string
  readonly kind: string
  readonly payload: JsonObject
  /** This attempt included. */
  readonly attempts: number
}

/** Takes at most `limit` due jobs of these kinds that nobody works on. */
export async function takeJobs(
  db: Db,
  kinds: readonly string[],
  leaseMs: number,
  limit: number,
): Promise<readonly TakenJob[]> {
  return db.query<TakenJob>(
    `update jobs set lease_until = clock_timestamp() + $2 * interval '1 millisecond', attempts = attempts + 1
      where id in (
        select id from jobs
         where not dead and run_at <= clock_timestamp() and kind = any($1::text[])
           and (lease_until is null or lease_until < clock_timestamp())
         order by run_at limit $3 for update skip locked)
      returning id, kind, payload, attempts`,
    [kinds, leaseMs, limit],
  )
}

/** Extends the leases of jobs in work. */
export async function extendLeases(db: Db, ids: readonly string[], leaseMs: number): Promise<void> {
  await db.query(
    `update jobs set lease_until = clock_timestamp() + $2 * interval '1 millisecond' where id = any($1::text[])`,
    [ids, leaseMs],
  )
}

/** Gives a job back to be tried again after `delayMs`, or never (`dead`). */
export async function returnJob(
  db: Db,
  id: string,
  delayMs: number,
  error: string,
  dead: boolean,
): Promise<void> {
  await db.query(
    `update jobs set lease_until = null, last_error = $3, dead = $4,
        run_at = clock_timestamp() + $2 * interval '1 millisecond'
      where id = $1`,
    [id, delayMs, error, dead],
  )
}
