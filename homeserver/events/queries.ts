import type { Db } from '../database/database.ts'

/** Takes blocks of event numbers; the first of each. */
export async function nextBlocks(db: Db, count: number): Promise<number[]> {
  const rows = await db<{ nr: number }>`
    select nextval('event_numbers')::bigint as nr from generate_series(1, ${count}::int)`
  return rows.map(({ nr }) => nr)
}

/** An event with what a reader has to know of it. */
export interface EventRow {
  readonly nr: number
  readonly event_id: string
  readonly position: number | null
  readonly state_before: number | null
  readonly state_after: number | null
  readonly rejected: string | null
  readonly soft_failed: boolean
  readonly txn_device: string | null
  readonly txn_id: string | null
  readonly json: string
  readonly version: string
  readonly replaced_id: string | null
  readonly replaced_json: string | null
  readonly redacted_by: string | null
}

const selectEvents = `
  select e.nr, e.event_id, e.position, e.state_before, e.state_after, e.rejected, e.soft_failed,
         e.txn_device, e.txn_id, e.json, r.version, p.event_id as replaced_id, p.json as replaced_json,
         (select d.event_id from redactions d where d.redacts = e.event_id and d.valid limit 1) as redacted_by
  from events e
  join rooms r on r.room_id = e.room_id
  left join events p on p.nr = e.replaces`

export async function eventsById(db: Db, ids: readonly string[]): Promise<EventRow[]> {
  return await db.query(`${selectEvents} where e.event_id = any($1::text[])`, [ids])
}

export async function eventsByNumber(db: Db, nrs: readonly number[]): Promise<EventRow[]> {
  return await db.query(`${selectEvents} where e.nr = any($1::bigint[])`, [nrs])
}

/** The newest live events of a range, newest first. */
export async function liveEvents(
  db: Db,
  room: string,
  range: { after: number; upTo: number; limit: number },
): Promise<EventRow[]> {
  return await db.query(
    `${selectEvents} where e.room_id = $1 and e.position > $2 and e.position <= $3
     order by e.position desc limit $4`,
    [room, Math.max(0, range.after), range.upTo, range.limit],
  )
}

/** Numbers and positions of the newest live events up to a position, newest first. */
export async function liveNumbers(
  db: Db,
  room: string,
  upTo: number,
  limit: number,
): Promise<{ nr: number; position: number }[]> {
  return await db`
    select nr, position from events where room_id = ${room} and position > 0 and position <= ${upTo}
    order by position desc limit ${limit}`
}

/** The newest positions, up to one, at which a room's timeline begins anew; rising. */
export async function timelineGaps(
  db: Db,
  room: string,
  upTo: number,
  limit: number,
): Promise<number[]> {
  const rows = await db<{ position: number }>`
    select position from timeline_gaps where room_id = ${room} and position <= ${upTo}
    order by position desc limit ${limit}`
  return rows.map(({ position }) => position).reverse()
}

/** Accepted events in history order; bounds are exclusive and optional. */
export async function historyEvents(
  db: Db,
  room: string,
  range: {
    dir: 'f' | 'b'
    limit: number
    low: readonly [number, number] | undefined
    high: readonly [number, number] | undefined
  },
): Promise<EventRow[]> {
  const order = range.dir === 'b' ? 'desc' : 'asc'
  return await db.query(
    `${selectEvents} where e.room_id = $1 and e.position is not null
       and (e.depth, e.position) > ($2::bigint, $3::bigint) and (e.depth, e.position) < ($4::bigint, $5::bigint)
     order by e.depth ${order}, e.position ${order} limit $6`,
    [
      room,
      ...(range.low ?? [-1, Number.MIN_SAFE_INTEGER]),
      ...(range.high ?? [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER]),
      range.limit,
    ],
  )
}

/** The last event, in history order, of those with a position up to one. */
export async function lastPointUpTo(
  db: Db,
  room: string,
  position: number,
): Promise<{ depth: number; position: number } | undefined> {
  const [row] = await db<{ depth: number; position: number }>`
    select depth, position from events
    where room_id = ${room} and position is not null and position <= ${position} and position > 0
    order by depth desc, position desc limit 1`
  return row
}

export interface RoomRow {
  readonly version: string
  readonly extremities: string[]
  readonly depth: number
  readonly state_root: number
  /** Its members are not all known. */
  readonly is_partial: boolean
}

export async function findRoom(db: Db, room: string): Promise<RoomRow | undefined> {
  const [row] = await db<RoomRow>`
    select version, extremities, depth, state_root,
           exists (select from partial_rooms p where p.room_id = ${room} and p.completed is null) as is_partial
    from rooms where room_id = ${room}`
  return row
}

/** Edges to events of these that are not stored, with their successors. */
export async function waitingFor(db: Db, ids: readonly string[]): Promise<Set<string>> {
  const rows = await db.query<{ prev_event_id: string }>(
    'select distinct prev_event_id from missing_edges where prev_event_id = any($1::text[])',
    [ids],
  )
  return new Set(rows.map((row) => row.prev_event_id))
}

/** Events whose history is missing, the deepest first. */
export async function historyGaps(
  db: Db,
  room: string,
  belowDepth: number,
  limit: number,
): Promise<{ event_id: string; depth: number }[]> {
  return await db<{ event_id: string; depth: number }>`
    select distinct m.event_id, e.depth from missing_edges m join events e on e.event_id = m.event_id
    where m.room_id = ${room} and e.depth <= ${belowDepth} and e.position is not null
    order by e.depth desc limit ${limit}`
}

/**
 * The depth at which the room's part that is here begins: of the deepest event of this server, or fetched as history,
 * whose predecessors are missing; 0 when all of the history is here. What is before it and not here is history too.
 */
export async function beginningDepth(db: Db, room: string, server: string): Promise<number> {
  const [row] = await db<{ depth: number }>`
    select max(e.depth) as depth from missing_edges m join events e on e.event_id = m.event_id
    where m.room_id = ${room}
      and (e.position < 0 or (e.position > 0 and right(e.sender, length(${`:${server}`})) = ${`:${server}`}))`
  return row?.depth ?? 0
}

/** Redactions that came before their targets. */
export async function pendingRedactions(
  db: Db,
  targets: readonly string[],
): Promise<{ redacts: string; event_id: string }[]> {
  return await db.query(
    'select redacts, event_id from redactions where redacts = any($1::text[]) and valid is null',
    [targets],
  )
}

/** The numbers of events that are stored, by id. */
export async function numbersOfEvents(
  db: Db,
  ids: readonly string[],
): Promise<Map<string, number>> {
  const rows = await db.query<{ event_id: string; nr: number }>(
    'select event_id, nr from events where event_id = any($1::text[])',
    [ids],
  )
  return new Map(rows.map(({ event_id, nr }) => [event_id, nr]))
}

/** State events that name these as auth events, and whose numbers are below; the newest of each. */
export async function namedBy(
  db: Db,
  events: readonly { nr: number; below: number }[],
  limitEach: number,
): Promise<{ auth_nr: number; nr: number }[]> {
  return await db.query(
    `select w.nr as auth_nr, n.nr from unnest($1::bigint[], $2::bigint[]) as w(nr, below)
     cross join lateral (
       select e.nr from auth_edges e where e.auth_nr = w.nr and e.nr < w.below order by e.nr desc limit $3::int) n`,
    [events.map(({ nr }) => nr), events.map(({ below }) => below), limitEach],
  )
}

/** Calls an apply function outside the log, for bulk that nobody can see yet. */
export async function applyOutsideLog(
  db: Db,
  table:
    | 'events'
    | 'state_nodes'
    | 'room_versions'
    | 'event_relations'
    | 'redactions'
    | 'current_state'
    | 'memberships'
    | 'partial_events'
    | 'search_backfilled',
  rows: string,
): Promise<void> {
  await db.query(`select log_apply_${table}($1::text::jsonb, 0)`, [rows])
}

/** The targets of these edges are here now. */
export async function closeEdges(db: Db, ids: readonly string[]): Promise<void> {
  await db.query('delete from missing_edges where prev_event_id = any($1::text[])', [ids])
}

/** Edges into what is not here. */
export async function openEdges(
  db: Db,
  room: string,
  edges: readonly { prev: string; event: string }[],
): Promise<void> {
  await db.query(
    `insert into missing_edges (prev_event_id, event_id, room_id)
     select prev, event, $3 from unnest($1::text[], $2::text[]) as e(prev, event) on conflict do nothing`,
    [edges.map(({ prev }) => prev), edges.map(({ event }) => event), room],
  )
}

/** Which of these redactions are valid, with their targets. */
export async function validRedactions(
  db: Db,
  ids: readonly string[],
): Promise<Map<string, string>> {
  const rows = await db.query<{ event_id: string; redacts: string }>(
    'select event_id, redacts from redactions where event_id = any($1::text[]) and valid',
    [ids],
  )
  return new Map(rows.map((row) => [row.event_id, row.redacts]))
}

/** Where a search by time stands: time, depth and position of the last event. */
export type TimeCursor = readonly [time: number, depth: number, position: number]

/** Accepted events sent between two times, closest to `start` first, beyond `from`. */
export async function eventsByTime(
  db: Db,
  room: string,
  range: {
    start: number
    end: number
    dir: 'f' | 'b'
    from: TimeCursor | undefined
    limit: number
  },
): Promise<EventRow[]> {
  const isForth = range.dir === 'f'
  const [order, beyond] = isForth ? ['asc', '>'] : ['desc', '<']
  const edge = isForth ? Number.MIN_SAFE_INTEGER : Number.MAX_SAFE_INTEGER
  return await db.query(
    `${selectEvents} join (
       select nr from events where room_id = $1 and position is not null
         and origin_server_ts between $2::bigint and $3::bigint
         and (origin_server_ts, depth, position) ${beyond} ($4::bigint, $5::bigint, $6::bigint)
       order by origin_server_ts ${order}, depth ${order}, position ${order} limit $7) f on f.nr = e.nr
     order by e.origin_server_ts ${order}, e.depth ${order}, e.position ${order}`,
    [
      room,
      Math.min(range.start, range.end),
      Math.max(range.start, range.end),
      ...(range.from ?? [edge, edge, edge]),
      range.limit,
    ],
  )
}

/** Whether anything of a room's history is missing. */
export async function hasGaps(db: Db, room: string): Promise<boolean> {
  const rows = await db`select 1 from missing_edges where room_id = ${room} limit 1`
  return rows.length > 0
}

/** Whether an event's predecessor is missing. */
export async function isBesideGap(db: Db, room: string, event: string): Promise<boolean> {
  const rows = await db`
    select 1 from missing_edges where room_id = ${room} and event_id = ${event} limit 1`
  return rows.length > 0
}

/** Takes a piece of a room's history away; answers how many events it was. */
export async function purgeEvents(
  db: Db,
  room: string,
  belowDepth: number,
  keptServer: string | undefined,
  limit: number,
): Promise<number> {
  const [row] = await db<{ gone: number }>`
    select purge_events(${room}, ${belowDepth}, ${keptServer ?? null}, ${limit}) as gone`
  return row?.gone ?? 0
}

/** The last live position of a room's events of less than a depth; 0 when there is none. */
export async function lastPositionBelow(db: Db, room: string, depth: number): Promise<number> {
  const [row] = await db<{ position: number | null }>`
    select max(position) as position from events
    where room_id = ${room} and depth < ${depth} and position is not null`
  return Math.max(0, row?.position ?? 0)
}

/** The greatest depth of an event of a room that was sent at a time or before. */
export async function depthAtTime(db: Db, room: string, ts: number): Promise<number | undefined> {
  const [row] = await db<{ depth: number }>`
    select depth from events
    where room_id = ${room} and position is not null and origin_server_ts <= ${ts}
    order by depth desc, position desc limit 1`
  return row?.depth
}

export interface PurgeRow {
  readonly id: string
  readonly room_id: string
  readonly kind: string
  readonly status: string
  readonly detail: string
}

/** The purges with this id, or of this room; the newest first. */
export async function purgesOf(
  db: Db,
  by: { readonly id: string } | { readonly room: string },
  limit: number,
): Promise<PurgeRow[]> {
  const [column, value] = 'id' in by ? ['id', by.id] : ['room_id', by.room]
  return await db.query(
    `select id, room_id, kind, status, detail from purges where ${column} = $1 order by at desc limit $2`,
    [value, limit],
  )
}

/** Calls every slice's function that forgets a room; answers how many rows they deleted. */
export async function forgetRoomRows(db: Db, room: string, limit: number): Promise<number> {
  const functions = await db.query<{ name: string }>(
    `select proname as name from pg_proc
     where starts_with(proname, 'room_forget_') and pg_function_is_visible(oid) order by proname`,
    [],
  )
  let gone = 0
  for (const { name } of functions) {
    const [row] = await db.query<{ gone: number }>(`select "${name}"($1, $2) as gone`, [
      room,
      limit,
    ])
    gone += row?.gone ?? 0
  }
  return gone
}

export async function isRoomBlocked(db: Db, room: string): Promise<boolean> {
  return (await db`select 1 from blocked_rooms where room_id = ${room}`).length > 0
}

export async function blockRoom(db: Db, room: string, by: string): Promise<void> {
  await db`insert into blocked_rooms (room_id, blocked_by) values (${room}, ${by}) on conflict do nothing`
}

export async function unblockRoom(db: Db, room: string): Promise<void> {
  await db`delete from blocked_rooms where room_id = ${room}`
}
