import type { RoomId, ServerName } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'

/** A server that something was sent to; the numbers are 0 while it answers. */
export interface BackoffRow {
  readonly server: ServerName
  readonly failing_since: number
  readonly retry_at: number
  readonly interval_ms: number
}

export async function failingServers(db: Db, limit: number): Promise<BackoffRow[]> {
  return await db<BackoffRow>`
    select server, failing_since, retry_at, interval_ms from destinations
    where failing_since > 0 order by retry_at desc limit ${limit}`
}

/** What was stored within the last `windowMs`. */
export async function changedBackoffs(
  db: Db,
  windowMs: number,
  limit: number,
): Promise<BackoffRow[]> {
  return await db<BackoffRow>`
    select server, failing_since, retry_at, interval_ms from destinations
    where changed_at > now() - ${windowMs} * interval '1 millisecond' order by changed_at limit ${limit}`
}

/** `rows` is a JSON array of BackoffRow. */
export async function upsertBackoffs(db: Db, rows: string): Promise<void> {
  await db`
    insert into destinations (server, failing_since, retry_at, interval_ms)
    select server, failing_since, retry_at, interval_ms
    from jsonb_to_recordset(${rows}::text::jsonb)
      as r(server text, failing_since bigint, retry_at bigint, interval_ms bigint)
    on conflict (server) do update set failing_since = excluded.failing_since,
      retry_at = excluded.retry_at, interval_ms = excluded.interval_ms, changed_at = now()`
}

/** How a list of servers is asked for. */
export interface ServerQuery {
  /** Part of the name; empty for all. */
  readonly contains: string
  readonly orderBy: 'destination' | 'retry_last_ts' | 'retry_interval' | 'failure_ts'
  readonly backwards: boolean
  readonly isFailing: boolean
  readonly from: number
  readonly limit: number
}

export async function listServers(db: Db, query: ServerQuery): Promise<BackoffRow[]> {
  const { contains, orderBy, isFailing } = query
  const sign = query.backwards ? -1 : 1
  return await db<BackoffRow>`
    select server, failing_since, retry_at, interval_ms from destinations
    where position(${contains}::text in server) > 0 and (failing_since > 0 or not ${isFailing}::boolean)
    order by ${sign}::int * case ${orderBy}::text when 'retry_last_ts' then retry_at - interval_ms
        when 'retry_interval' then interval_ms when 'failure_ts' then failing_since else 0 end,
      case when ${sign}::int = 1 then server end, case when ${sign}::int = -1 then server end desc
    limit ${query.limit} offset ${query.from}`
}

export async function countServers(
  db: Db,
  { contains, isFailing }: Pick<ServerQuery, 'contains' | 'isFailing'>,
): Promise<number> {
  const [row] = await db<{ n: number }>`
    select count(*)::int as n from destinations
    where position(${contains}::text in server) > 0 and (failing_since > 0 or not ${isFailing}::boolean)`
  return row?.n ?? 0
}

export async function findServer(db: Db, server: ServerName): Promise<BackoffRow | undefined> {
  const [row] = await db<BackoffRow>`
    select server, failing_since, retry_at, interval_ms from destinations where server = ${server}`
  return row
}

/** The rooms in which a destination misses events, by id, and how many they are. */
export async function listBehind(
  db: Db,
  server: ServerName,
  page: { backwards: boolean; from: number; limit: number },
): Promise<(BehindRow & { total: number })[]> {
  const sign = page.backwards ? -1 : 1
  return await db<BehindRow & { total: number }>`
    select room_id, first_position, last_position, (count(*) over ())::int as total
    from destination_rooms where destination = ${server}
    order by case when ${sign}::int = 1 then room_id end, case when ${sign}::int = -1 then room_id end desc
    limit ${page.limit} offset ${page.from}`
}

/** EDUs that wait for each of these servers. */
export async function countOutbox(
  db: Db,
  servers: readonly ServerName[],
): Promise<{ server: ServerName; n: number }[]> {
  return await db<{ server: ServerName; n: number }>`
    select destination as server, count(*)::int as n from outbox
    where destination = any(${servers}::text[]) group by destination`
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
  rooms: readonly { room: RoomId; upTo: number }[],
): Promise<void> {
  await db`
    with done as (
      select room_id, up_to from unnest(
        ${rooms.map((one) => one.room)}::text[], ${rooms.map((one) => one.upTo)}::bigint[]) as d(room_id, up_to)),
    gone as (
      delete from destination_rooms r using done d
      where r.destination = ${server} and r.room_id = d.room_id and r.last_position <= d.up_to)
    update destination_rooms r set first_position = d.up_to + 1 from done d
    where r.destination = ${server} and r.room_id = d.room_id and r.last_position > d.up_to`
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
