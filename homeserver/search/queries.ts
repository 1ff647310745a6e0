import type { EventId, RoomId, UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Db } from '../database/database.ts'

/** How far the log has been read. */
export async function findProgress(db: Db): Promise<number> {
  const [row] = await db<{ position: number }>`select position from search_progress`
  return row?.position ?? 0
}

/** Goes on from one position to another; false when somebody else has. */
export async function advance(
  db: Db,
  range: { from: number; to: number },
  rows: readonly JsonObject[],
  gone: readonly EventId[],
): Promise<boolean> {
  const [row] = await db<{ done: boolean }>`
    select search_advance(${range.from}, ${range.to}, ${JSON.stringify(rows)}::text::jsonb,
      ${gone}::text[]) as done`
  return row?.done === true
}

export async function backfilled(db: Db, limit: number): Promise<number[]> {
  const rows = await db<{ nr: number }>`select nr from search_backfilled order by nr limit ${limit}`
  return rows.map(({ nr }) => nr)
}

/** Stores texts of backfilled events, which then wait no more. */
export async function putBackfilled(
  db: Db,
  rows: readonly JsonObject[],
  nrs: readonly number[],
): Promise<void> {
  await db`
    with done as (delete from search_backfilled where nr = any(${nrs}::bigint[]))
    select search_put(${JSON.stringify(rows)}::text::jsonb)`
}

/** Numbers of a room's events with texts, in order. */
export async function numbersOf(
  db: Db,
  room: RoomId,
  after: number,
  limit: number,
): Promise<number[]> {
  const rows = await db<{ nr: number }>`
    select nr from search_texts where room_id = ${room} and nr > ${after} order by nr limit ${limit}`
  return rows.map(({ nr }) => nr)
}

export async function deleteTexts(db: Db, nrs: readonly number[]): Promise<void> {
  await db`delete from search_texts where nr = any(${nrs}::bigint[])`
}

/** A result, by which the next ones are found. */
export interface Place {
  readonly rank: number
  readonly ts: number
  readonly nr: number
}

export interface TextQuery {
  readonly term: string
  readonly keys: readonly string[]
  readonly rooms: readonly RoomId[]
  readonly senders: readonly UserId[] | undefined
  readonly notSenders: readonly UserId[]
  readonly order: 'rank' | 'recent'
  readonly after: Place | undefined
  readonly limit: number
}

export interface TextRow extends Place {
  readonly event_id: EventId
  readonly room_id: RoomId
}

/** Rooms of one search that are looked up as words; more of them are sifted out of all that match. */
const roomWordsMax = 200

/** What matches, in order. */
export async function findTexts(db: Db, query: TextQuery): Promise<TextRow[]> {
  const { term, keys, rooms, senders, notSenders, order, after, limit } = query
  const isByRank = order === 'rank'
  const [first, next] = isByRank
    ? ['(rank, ts, nr)', '($5::float8, $6::bigint, $7::bigint)']
    : ['(ts, nr)', '($6::bigint, $7::bigint)']
  return await db.query<TextRow>(
    `select nr, event_id, room_id, ts, rank from (
       select nr, event_id, room_id, ts, ts_rank_cd(words, search_query($1))::float8 as rank
       from search_texts
       where words @@ (case when $8::text is null then search_query($1) else search_query($1) && $8::tsquery end)
         and room_id = any($2::text[]) and key = any($3::text[])
         and ($4::text[] is null or sender = any($4::text[])) and sender <> all($9::text[])) found
     where $7::bigint is null or ($5::float8 is not null and ${first} < ${next})
     order by ${isByRank ? 'rank desc, ' : ''}ts desc, nr desc limit $10`,
    [
      ...[term, rooms, keys, senders ?? null],
      ...[after?.rank ?? null, after?.ts ?? null, after?.nr ?? null],
      ...[roomsQuery(rooms), notSenders, limit],
    ],
  )
}

/** How many match, at most `limit`. */
export async function countTexts(db: Db, query: TextQuery): Promise<number> {
  const { term, keys, rooms, senders, notSenders, limit } = query
  const rows = await db.query<{ n: number }>(
    `select count(*) as n from (
       select 1 from search_texts
       where words @@ (case when $6::text is null then search_query($1) else search_query($1) && $6::tsquery end)
         and room_id = any($2::text[]) and key = any($3::text[])
         and ($4::text[] is null or sender = any($4::text[])) and sender <> all($5::text[])
       limit $7) found`,
    [term, rooms, keys, senders ?? null, notSenders, roomsQuery(rooms), limit],
  )
  return rows[0]?.n ?? 0
}

/** A tsquery for one of the rooms. */
function roomsQuery(rooms: readonly RoomId[]): string | null {
  return rooms.length === 0 || rooms.length > roomWordsMax ? null : rooms.map(quoted).join(' | ')
}

/** A word as a tsquery has it. */
export function quoted(word: string): string {
  return `'${word.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
}

/** A name of a user, with what it is found by. */
export interface NameRow {
  readonly user: UserId
  readonly name: string
  readonly words: readonly string[]
  /** The user has no other one. */
  readonly sole: boolean
}

export async function putNames(db: Db, names: readonly NameRow[]): Promise<void> {
  await db`
    with given as (
      select distinct on (g."user", g.name) * from jsonb_to_recordset(${JSON.stringify(names)}::text::jsonb)
        as g("user" text, name text, words jsonb, sole boolean)),
    old as (
      delete from search_names n using given g
      where g.sole and n.user_id = g."user" and n.name <> g.name)
    insert into search_names (user_id, name, words)
    select "user", name, array_to_tsvector(array(select jsonb_array_elements_text(words))) from given
    on conflict do nothing`
}

/** Users whose words match a tsquery, among these or among all. */
export async function findNames(
  db: Db,
  query: string,
  among: readonly UserId[] | undefined,
  limit: number,
): Promise<UserId[]> {
  const rows = await db<{ user_id: UserId }>`
    select distinct user_id from search_names
    where words @@ ${query}::tsquery
      and (${among ?? null}::text[] is null or user_id = any(${among ?? null}::text[]))
    limit ${limit}`
  return rows.map(({ user_id: user }) => user)
}
