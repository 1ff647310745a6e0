import type { EventId, RoomId, UserId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'

/** A relation counts as long as the event that makes it is not redacted. */
const isWhole = (relation: string) =>
  `not exists (select from redactions d where d.redacts = ${relation}.event_id and d.valid)`

/** Which of these events are the target of relations of these kinds, redacted ones included. */
export async function targetsAmong(
  db: Db,
  ids: readonly EventId[],
  relTypes: readonly string[],
): Promise<{ id: EventId; rel_type: string }[]> {
  return await db.query(
    // The limit makes it a look at the index for each.
    `select w.id, t.rel_type from unnest($1::text[]) as w(id) cross join unnest($2::text[]) as t(rel_type)
     cross join lateral (
       select from event_relations r where r.relates_to = w.id and r.rel_type = t.rel_type limit 1) one`,
    [ids, relTypes],
  )
}

/** The newest replacements of each event by its own sender, of its type and in its room. */
export async function replacementsOf(
  db: Db,
  ids: readonly EventId[],
  limitEach: number,
): Promise<{ id: EventId; event_id: EventId }[]> {
  return await db.query(
    `select o.event_id as id, c.event_id from events o cross join lateral (
       select e.event_id, e.origin_server_ts from event_relations r join events e on e.event_id = r.event_id
       where r.relates_to = o.event_id and r.rel_type = 'm.replace'
         and r.room_id = o.room_id and r.type = o.type and r.sender = o.sender and ${isWhole('r')}
       order by e.origin_server_ts desc, e.event_id collate "C" desc limit $2) c
     where o.event_id = any($1::text[]) and o.state_key is null
     order by o.event_id, c.origin_server_ts desc, c.event_id collate "C" desc`,
    [ids, limitEach],
  )
}

/** The events that refer to each of these, in the order of the room's history; the first of them when they are many. */
export async function referencesTo(
  db: Db,
  ids: readonly EventId[],
  limitEach: number,
): Promise<{ id: EventId; event_id: EventId; sender: UserId }[]> {
  return await db.query(
    `select o.event_id as id, c.event_id, c.sender from events o cross join lateral (
       select r.event_id, r.sender, r.depth, r.position from event_relations r
       where r.relates_to = o.event_id and r.rel_type = 'm.reference' and r.room_id = o.room_id and ${isWhole('r')}
       order by r.depth, r.position limit $2) c
     where o.event_id = any($1::text[])
     order by o.event_id, c.depth, c.position`,
    [ids, limitEach],
  )
}

/** How much each user has said in the threads that begin with these, and the newest position of what counts there. */
export async function threadSenders(
  db: Db,
  ids: readonly EventId[],
): Promise<{ id: EventId; sender: UserId; count: number; up_to: number }[]> {
  return await db.query(
    `select o.event_id as id, r.sender, count(*)::int as count, max(r.position) as up_to from events o
     join event_relations r on r.relates_to = o.event_id and r.rel_type = 'm.thread' and r.room_id = o.room_id
     where o.event_id = any($1::text[]) and ${isWhole('r')}
     group by 1, 2`,
    [ids],
  )
}

/** The newest events of each of these threads, but those of some users. */
export async function newestInThreads(
  db: Db,
  ids: readonly EventId[],
  but: readonly UserId[],
  limitEach: number,
): Promise<{ id: EventId; event_id: EventId; depth: number; position: number }[]> {
  return await db.query(
    `select o.event_id as id, c.event_id, c.depth, c.position from events o cross join lateral (
       select r.event_id, r.depth, r.position from event_relations r
       where r.relates_to = o.event_id and r.rel_type = 'm.thread' and r.room_id = o.room_id
         and r.sender <> all ($2::text[]) and ${isWhole('r')}
       order by r.depth desc, r.position desc limit $3) c
     where o.event_id = any($1::text[])
     order by o.event_id, c.depth desc, c.position desc`,
    [ids, but, limitEach],
  )
}

/** A place in the room's history. */
type Place = readonly [depth: number, position: number]

export interface ChildrenRange {
  readonly relType: string | undefined
  readonly eventType: string | undefined
  readonly dir: 'f' | 'b'
  /** Bounds; exclusive. */
  readonly low: Place | undefined
  readonly high: Place | undefined
  readonly limit: number
}

/** What relates to an event over at most so many steps, each of which has to be of the kind that is asked for. */
export async function childrenOf(
  db: Db,
  room: RoomId,
  target: EventId,
  range: ChildrenRange,
  steps: number,
): Promise<{ event_id: EventId }[]> {
  const order = range.dir === 'b' ? 'desc' : 'asc'
  const ofKind = range.relType === undefined ? '$3::text is null' : 'r.rel_type = $3'
  const ofType = range.eventType === undefined ? '$4::text is null' : 'r.type = $4'
  const wanted = `r.room_id = $2 and ${ofKind} and ${ofType} and ${isWhole('r')}`
  const inRange = `(depth, position) > ($5::bigint, $6::bigint) and (depth, position) < ($7::bigint, $8::bigint)
    order by depth ${order}, position ${order} limit $9`
  const direct = `select r.event_id from event_relations r where r.relates_to = $1 and ${wanted} and ${inRange}`
  const recursive = `
    with recursive related as (
      select r.event_id, r.depth, r.position, 1 as step from event_relations r where r.relates_to = $1 and ${wanted}
      union
      select c.event_id, c.depth, c.position, p.step + 1 from related p cross join lateral (
        select r.event_id, r.depth, r.position from event_relations r
        where r.relates_to = p.event_id and ${wanted} offset 0) c
      where p.step < $10::int)
    select event_id from related where ${inRange}`
  const values = [
    ...[target, room, range.relType ?? null, range.eventType ?? null],
    ...(range.low ?? [-1, Number.MIN_SAFE_INTEGER]),
    ...(range.high ?? [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER]),
    range.limit,
  ]
  return steps === 1
    ? await db.query(direct, values)
    : await db.query(recursive, [...values, steps])
}

/** Which of these events somebody related something to; without users or kinds, anybody or anything. */
export async function relatedAmong(
  db: Db,
  room: RoomId,
  ids: readonly EventId[],
  by: {
    readonly senders: readonly string[] | undefined
    readonly relTypes: readonly string[] | undefined
  },
): Promise<{ id: EventId }[]> {
  return await db.query(
    `select w.id from unnest($1::text[]) as w(id) cross join lateral (
       select from event_relations r where r.relates_to = w.id and r.room_id = $4
         and ($2::text[] is null or r.sender = any($2::text[]))
         and ($3::text[] is null or r.rel_type = any($3::text[])) and ${isWhole('r')} limit 1) one`,
    [ids, by.senders ?? null, by.relTypes ?? null, room],
  )
}

/** Has a user annotated an event with this before. */
export async function hasAnnotated(
  db: Db,
  target: EventId,
  by: { readonly sender: UserId; readonly type: string; readonly key: string },
): Promise<boolean> {
  const rows = await db.query(
    `select 1 from event_relations r
     where r.relates_to = $1 and r.rel_type = 'm.annotation' and r.sender = $2 and r.type = $3
       and r.aggregation_key = $4 and ${isWhole('r')} limit 1`,
    [target, by.sender, by.type, by.key],
  )
  return rows.length > 0
}

/** What these events relate to. */
export async function targetsOf(
  db: Db,
  ids: readonly EventId[],
): Promise<{ relates_to: EventId }[]> {
  return await db.query(
    'select distinct relates_to from event_relations where event_id = any($1::text[])',
    [ids],
  )
}

export interface ThreadRow {
  readonly root: EventId
  readonly depth: number
  readonly position: number
}

/** The threads of a room, the one with the newest event first. */
export async function threadsOf(
  db: Db,
  room: RoomId,
  before: Place | undefined,
  limit: number,
): Promise<ThreadRow[]> {
  return await db.query(
    `select root, depth, position from threads
     where room_id = $1 and (depth, position) < ($2::bigint, $3::bigint)
     order by depth desc, position desc limit $4`,
    [room, ...(before ?? [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER]), limit],
  )
}

/** Puts threads where their newest events are that still count, and takes out those that have none. */
export async function correctThreads(
  db: Db,
  room: RoomId,
  roots: readonly EventId[],
): Promise<void> {
  await db.query(
    `with newest as (
       select t.root, t.depth as was, t.position as was_at, n.depth, n.position from threads t left join lateral (
         select r.depth, r.position from event_relations r
         where r.relates_to = t.root and r.rel_type = 'm.thread' and r.room_id = t.room_id and ${isWhole('r')}
         order by r.depth desc, r.position desc limit 1) n on true
       where t.room_id = $1 and t.root = any($2::text[])
     ), gone as (
       delete from threads t using newest n where n.depth is null
         and t.room_id = $1 and t.root = n.root and t.depth = n.was and t.position = n.was_at)
     update threads t set depth = n.depth, position = n.position from newest n where n.depth is not null
       and t.room_id = $1 and t.root = n.root and t.depth = n.was and t.position = n.was_at`,
    [room, roots],
  )
}
