import type { Db } from '../database/database.ts'
import type { Position } from './log.ts'

/** A row of the table `log`. */
export interface StoredLogRow {
  readonly position: Position
  readonly kind: number
  readonly room_id: string | null
  readonly user_id: string | null
  readonly ref: string
  readonly process: string
}

/** A batch as `log_commit` takes it; `writes` and `rows` are JSON texts. */
export interface BatchTexts {
  readonly id: string
  readonly process: string
  readonly writes: string
  readonly rows: string
  readonly notify: boolean
}

/** Commits a batch; the answer is unparsed. Sent again with the same id it answers what the first call did. */
export async function commitBatch(db: Db, batch: BatchTexts): Promise<unknown> {
  // The casts by way of text keep the driver from encoding the JSON texts once more.
  const rows = await db.query<{ answer: unknown }>(
    'select log_commit($1, $2, $3::text::jsonb, $4::text::jsonb, $5) as answer',
    [batch.id, batch.process, batch.writes, batch.rows, batch.notify],
  )
  return rows[0]?.answer
}

/** Ends sessions that hold the log's lock and wait for their client (it is paused or gone); answers how many. */
export async function releaseStalledLock(db: Db): Promise<number> {
  const rows = await db.query<{ released: number }>('select log_release_stalled() as released', [])
  return rows[0]?.released ?? 0
}

/** The newest position that can be read; 0 when nothing was ever written. */
export async function newestPosition(db: Db): Promise<Position> {
  const rows = await db.query<{ head: number }>(
    'select coalesce(max(position), 0) as head from log',
    [],
  )
  return rows[0]?.head ?? 0
}

/** The oldest position that is kept; 0 when nothing was ever written. */
export async function oldestPosition(db: Db): Promise<Position> {
  const rows = await db.query<{ tail: number }>(
    'select coalesce(min(position), 0) as tail from log',
    [],
  )
  return rows[0]?.tail ?? 0
}

/** At most `limit` rows after `position`, in order. */
export async function rowsAfter(
  db: Db,
  position: Position,
  limit: number,
): Promise<readonly StoredLogRow[]> {
  return db.query<StoredLogRow>(
    'select position, kind, room_id, user_id, ref, process from log where position > $1 order by position limit $2',
    [position, limit],
  )
}

/** Deletes at most `limit` rows of the log older than `ageMs`, never the newest row; answers how many. */
export async function pruneLog(db: Db, ageMs: number, limit: number): Promise<number> {
  const rows = await db.query<{ pruned: number }>('select log_prune($1, $2) as pruned', [
    ageMs,
    limit,
  ])
  return rows[0]?.pruned ?? 0
}

/** Deletes at most `limit` answers of batches older than `ageMs`; answers how many. */
export async function pruneBatches(db: Db, ageMs: number, limit: number): Promise<number> {
  const rows = await db.query<{ id: string }>(
    `delete from log_batches where id in (
       select id from log_batches where at < now() - $1 * interval '1 millisecond' limit $2) returning id`,
    [ageMs, limit],
  )
  return rows.length
}

/** Deletes at most `limit` idempotency keys older than `ageMs`; answers how many. */
export async function pruneOnce(db: Db, ageMs: number, limit: number): Promise<number> {
  const rows = await db.query<{ pruned: number }>(
    `with old as (delete from log_once where (scope, key) in (
       select scope, key from log_once where at < now() - $1 * interval '1 millisecond' limit $2) returning 1)
     select count(*)::int as pruned from old`,
    [ageMs, limit],
  )
  return rows[0]?.pruned ?? 0
}

/** The answer that a key's first write gave, if there was one. */
export async function findOnce(db: Db, scope: string, key: string): Promise<string | undefined> {
  const rows = await db.query<{ answer: string }>(
    'select answer from log_once where scope = $1 and key = $2',
    [scope, key],
  )
  return rows[0]?.answer
}

/** A live process. */
export interface ProcessRow {
  readonly id: string
  readonly address: string
  /** How long its lease lasts from now, in ms. */
  readonly lease_ms: number
}

/** Renews (or takes) this process's lease and answers all live processes, this one among them. */
export async function renewLease(
  db: Db,
  id: string,
  address: string,
  leaseMs: number,
): Promise<readonly ProcessRow[]> {
  return db.query<ProcessRow>(
    `with mine as (
       insert into processes (id, address, lease_until)
       values ($1, $2, clock_timestamp() + $3 * interval '1 millisecond')
       on conflict (id) do update set address = excluded.address, lease_until = excluded.lease_until
       returning id, address, lease_until),
     live as (
       select id, address, lease_until from mine
       union all
       select id, address, lease_until from processes
        where id <> $1 and lease_until > clock_timestamp())
     select id, address, (extract(epoch from lease_until - clock_timestamp()) * 1000)::int as lease_ms from live`,
    [id, address, leaseMs],
  )
}

/** The live processes other than this one. */
export async function otherProcesses(db: Db, id: string): Promise<readonly ProcessRow[]> {
  return db.query<ProcessRow>(
    `select id, address, (extract(epoch from lease_until - clock_timestamp()) * 1000)::int as lease_ms
       from processes where id <> $1 and lease_until > clock_timestamp()`,
    [id],
  )
}

/** Removes a process that ends, and those whose lease ran out more than a minute ago. */
export async function removeProcess(db: Db, id: string): Promise<void> {
  await db.query(
    `delete from processes where id = $1 or lease_until < clock_timestamp() - interval '1 minute'`,
    [id],
  )
}

/** Sends notifications on a channel. */
export async function notify(db: Db, channel: string, payloads: readonly string[]): Promise<void> {
  await db.query('select pg_notify($1, payload) from unnest($2::text[]) as payload', [
    channel,
    payloads,
  ])
}
