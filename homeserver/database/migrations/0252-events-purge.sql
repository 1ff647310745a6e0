-- owner: events
-- Purges of histories and deletions of rooms, for those who ask how far they are.
create table purges (
  id text primary key,
  room_id text not null,
  -- history, or room
  kind text not null,
  -- active, complete or failed
  status text not null,
  -- JSON of what was found out on the way.
  detail text not null default '{}',
  at timestamptz not null default now()
);
create index purges_by_room on purges (room_id);

-- Snapshots that events referred to which are gone; their nodes are collected when nothing else refers to them.
create table freed_roots (
  room_id text not null,
  root bigint not null,
  primary key (room_id, root)
);

-- Rooms that nobody of this server may enter.
create table blocked_rooms (
  room_id text primary key,
  blocked_by text not null,
  at timestamptz not null default now()
);

-- The other events of a room are found by their place in its history.
create index events_unplaced on events (room_id) where position is null;

-- The only change of an event's text: its redacted form.
create function log_apply_event_texts(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  update events e set json = r.json from jsonb_to_recordset(p_rows) as r(nr bigint, json text) where e.nr = r.nr;
end
$$;

create function log_apply_purges(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  insert into purges (id, room_id, kind, status, detail)
  select id, room_id, kind, status, coalesce(detail, '{}')
  from jsonb_to_recordset(p_rows) as r(id text, room_id text, kind text, status text, detail text)
  on conflict (id) do update set status = excluded.status, detail = excluded.detail;
end
$$;

-- Takes at most p_limit events of less than a depth out of a room's history, with what hangs on them; state events stay
-- without a place, for what they authorise. Those of users of p_kept_server stay as they are. Answers how many there were.
create function purge_events(p_room text, p_depth bigint, p_kept_server text, p_limit int) returns int language plpgsql as $$
declare
  gone int;
begin
  with doomed as materialized (
    select e.nr, e.event_id, e.state_key is not null as is_state, e.state_before, e.state_after
    from events e
    where e.room_id = p_room and e.depth < p_depth and e.position is not null
      and e.event_id <> all (select unnest(extremities) from rooms where room_id = p_room)
      and (p_kept_server is null or right(e.sender, length(p_kept_server) + 1) <> ':' || p_kept_server)
    limit p_limit
  ), freed as (
    insert into freed_roots (room_id, root)
    select distinct p_room, r.root from doomed d cross join lateral (values (d.state_before), (d.state_after)) as r(root)
    where r.root > 0
    on conflict do nothing
  ), edges as (
    delete from missing_edges m using doomed d where m.room_id = p_room and m.event_id = d.event_id
  ), related as (
    delete from event_relations r using doomed d where r.event_id = d.event_id
  ), redacted as (
    delete from redactions r using doomed d where r.redacts = d.event_id and not d.is_state
  ), unplaced as (
    update events e set position = null, state_before = null, state_after = null
    from doomed d where e.nr = d.nr and d.is_state
  ), deleted as (
    delete from events e using doomed d where e.nr = d.nr and not d.is_state
  )
  select count(*) into gone from doomed;
  return gone;
end
$$;

-- Functions of the form room_forget_<slice>(room, limit) delete what a slice keeps of a room, at most so many rows at a
-- time, and answer how many; they are called until all of them answer 0.
create function room_forget_events(p_room text, p_limit int) returns int language plpgsql as $$
declare
  gone int;
begin
  with doomed as materialized (
    (select nr, event_id, state_before, state_after from events where room_id = p_room and position is not null limit p_limit)
    union all
    (select nr, event_id, state_before, state_after from events where room_id = p_room and position is null limit p_limit)
  ), freed as (
    insert into freed_roots (room_id, root)
    select distinct p_room, r.root from doomed d cross join lateral (values (d.state_before), (d.state_after)) as r(root)
    where r.root > 0
    on conflict do nothing
  ), related as (
    delete from event_relations r using doomed d where r.event_id = d.event_id
  ), authorised as (
    delete from auth_edges a using doomed d where a.auth_nr = d.nr
  ), deleted as (
    delete from events e using doomed d where e.nr = d.nr
  )
  select count(*) into gone from doomed;
  if gone = 0 then
    insert into freed_roots (room_id, root)
    select room_id, state_root from rooms where room_id = p_room and state_root > 0
    on conflict do nothing;
    delete from missing_edges where room_id = p_room;
    delete from redactions where room_id = p_room;
    delete from timeline_gaps where room_id = p_room;
    delete from rooms where room_id = p_room;
  end if;
  return gone;
end
$$;
