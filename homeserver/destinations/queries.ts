import type { RoomId, ServerName } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'

/** A server that does not answer. */
export interface BackoffRow {
  readonly server: ServerName
  readonly failing_since: number
  readonly retry_at: number
  readonly interval_ms: number
}

export async function backoffs(db: Db, limit: number): Promise<BackoffRow[]> {
  return await db<BackoffRow>`
    select server, failing_since, retry_at, interval_ms from destinations order by retry_at desc limit ${limit}`
}

/** `rows` is a JSON array of BackoffRow. */
export async function upsertBackoffs(db: Db, rows: string): Promise<void> {
  await db`
    insert into destinations (server, failing_since, retry_at, interval_ms)
    select server, failing_since, retry_at, interval_ms
    from jsonb_to_recordset(${rows}::text::jsonb)
      as r(server text, failing_since bigint, retry_at bigint, interval_ms bigint)
    on conflict (server) do update set failing_since = excluded.failing_since,
      retry_at = excluded.retry_at, interval_ms = excluded.interval_ms`
}

export async function deleteBackoffs(db: Db, servers: readonly ServerName[]): Promise<void> {
  await db`delete from destinations where server = any(${servers}::text[])`
}

/** An EDU waiting for its destination. */
export interface OutboxRow {
  readonly id: number
  readonly edu_type: string
  readonly content: string
}

export async function outboxOf(db: Db, server: ServerName, limit: number): Promise<OutboxRow[]> {
  return await db<OutboxRow>`
    select id, edu_type, content from outbox where destination = ${server} order by id limit ${limit}`
}

export async function deleteFromOutbox(db: Db, ids: readonly number[]): Promise<void> {
  await db`delete from outbox where id = any(${ids}::bigint[])`
}

/** Drops the oldest EDUs of destinations that have more than `keep`; answers how many. */
export async function trimOutbox(db: Db, keep: number): Promise<number> {
  const rows = await db`
    delete from outbox o using (
      select destination, (array_agg(id order by id desc))[${keep}::int] as oldest
      from outbox group by destination having count(*) > ${keep}::int) q
    where o.destination = q.destination and o.id < q.oldest returning o.id`
  return rows.length
}

/** Rooms in which a destination misses events of ours. */
export interface BehindRow {
  readonly room_id: RoomId
  readonly first_position: number
  readonly last_position: number
}

export async function behindOf(db: Db, server: ServerName, limit: number): Promise<BehindRow[]> {
  return await db<BehindRow>`
    select room_id, first_position, last_position from destination_rooms
    where destination = ${server} order by first_position limit ${limit}`
}

/** Widens what is noted; `rows` is a JSON array of BehindRow with `destination`, one for each room and destination. */
export async function upsertBehind(db: Db, rows: string): Promise<void> {
  await db`
    insert into destination_rooms (destination, room_id, first_position, last_position)
    select destination, room_id, first_position, last_position
    from jsonb_to_recordset(${rows}::text::jsonb)
      as r(destination text, room_id text, first_position bigint, last_position bigint)
    on conflict (destination, room_id) do update set
      first_position = least(destination_rooms.first_position, excluded.first_position),
      last_position = greatest(destination_rooms.last_position, excluded.last_position)`
}

/** Removes what is caught up, and moves on where more has been noted in the meantime. */
export async function advanceBehind(
  db: Db,
  server: ServerName,
  room: RoomId,
  upTo: number,
): Promise<void> {
  await db`
    with gone as (
      delete from destination_rooms
      where destination = ${server} and room_id = ${room} and last_position <= ${upTo})
    update destination_rooms set first_position = ${upTo} + 1
    where destination = ${server} and room_id = ${room} and last_position > ${upTo}`
}

/** Servers for which something waits; jumps from name to name in the indexes, however much waits for each. */
export async function waitingDestinations(
  db: Db,
  limit: number,
): Promise<{ server: ServerName }[]> {
  return await db<{ server: ServerName }>`
    with recursive behind(server) as (
      (select destination from destination_rooms order by destination limit 1)
      union all
      select (select d.destination from destination_rooms d where d.destination > behind.server
              order by d.destination limit 1)
      from behind where behind.server is not null),
    posted(server) as (
      (select destination from outbox order by destination limit 1)
      union all
      select (select o.destination from outbox o where o.destination > posted.server
              order by o.destination limit 1)
      from posted where posted.server is not null)
    select server from behind where server is not null
    union select server from posted where server is not null limit ${limit}`
}

export interface CursorRow {
  readonly process: string
  readonly position: number
  readonly age_ms: number
}

export async function cursors(db: Db): Promise<CursorRow[]> {
  return await db<CursorRow>`
    select process, position, (extract(epoch from clock_timestamp() - at) * 1000)::bigint as age_ms
    from sender_cursors`
}

export async function upsertCursor(db: Db, process: string, position: number): Promise<void> {
  await db`
    insert into sender_cursors (process, position) values (${process}, ${position})
    on conflict (process) do update set position = excluded.position, at = now()`
}

export async function deleteCursors(db: Db, processes: readonly string[]): Promise<void> {
  await db`delete from sender_cursors where process = any(${processes}::text[])`
}

export async function findAnswer(
  db: Db,
  origin: ServerName,
  txnId: string,
): Promise<string | undefined> {
  const [row] = await db<{ answer: string }>`
    select answer from inbound_transactions where origin = ${origin} and txn_id = ${txnId}`
  return row?.answer
}

/** `rows` is a JSON array of {origin, txn_id, answer}. */
export async function insertAnswers(db: Db, rows: string): Promise<void> {
  await db`
    insert into inbound_transactions (origin, txn_id, answer)
    select origin, txn_id, answer
    from jsonb_to_recordset(${rows}::text::jsonb) as r(origin text, txn_id text, answer text)
    on conflict do nothing`
}

/** Deletes at most `limit` answers older than `ageMs`; answers how many. */
export async function pruneAnswers(db: Db, ageMs: number, limit: number): Promise<number> {
  const rows = await db`
    delete from inbound_transactions where (origin, txn_id) in (
      select origin, txn_id from inbound_transactions
      where at < now() - ${ageMs} * interval '1 millisecond' limit ${limit}) returning txn_id`
  return rows.length
}
