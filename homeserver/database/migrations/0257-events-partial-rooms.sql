-- owner: events
-- Rooms whose state came without members when this server joined them, and those that became complete since.
create table partial_rooms (
  room_id text primary key,
  join_id text not null,
  origin text not null,
  servers text[] not null,
  -- Position at which the state became complete; null while it is not.
  completed bigint
);

-- Events that were given a place from such a state, in the order in which they were.
create table partial_events (
  room_id text not null,
  nr bigint not null,
  seq bigint generated always as identity,
  -- States that stand for predecessors that are not here.
  given bigint[],
  primary key (room_id, nr)
);

-- A row without `join_id` says that the room is complete.
create function log_apply_partial_rooms(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  delete from partial_events e using jsonb_to_recordset(p_rows) as r(room_id text, join_nr bigint)
  where e.room_id = r.room_id and e.nr is distinct from r.join_nr;
  insert into partial_rooms (room_id, join_id, origin, servers)
  select r.room_id, r.join_id, r.origin, array(select jsonb_array_elements_text(r.servers))
  from jsonb_to_recordset(p_rows) as r(room_id text, join_id text, origin text, servers jsonb)
  where r.join_id is not null
  on conflict (room_id) do update set
    join_id = excluded.join_id, origin = excluded.origin, servers = excluded.servers, completed = null;
  update partial_rooms p set completed = p_base + r.i, servers = '{}'
  from jsonb_to_recordset(p_rows) as r(i bigint, room_id text, join_id text)
  where r.join_id is null and p.room_id = r.room_id;
end
$$;

create function log_apply_partial_events(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  insert into partial_events (room_id, nr, given)
  select r.room_id, r.nr,
         case when r.given is null then null else array(select jsonb_array_elements_text(r.given)::bigint) end
  from jsonb_to_recordset(p_rows) as r(room_id text, nr bigint, given jsonb)
  on conflict do nothing;
end
$$;

-- Events whose state turned out to be another; one that is refused by it loses its place in the timeline.
create function log_apply_event_states(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  update events e set
    state_before = r.state_before, state_after = r.state_after, rejected = r.rejected,
    soft_failed = coalesce(r.soft_failed, false),
    position = case when r.rejected is null then e.position end
  from jsonb_to_recordset(p_rows) as r(nr bigint, state_before bigint, state_after bigint, rejected text, soft_failed boolean)
  where e.nr = r.nr;
end
$$;

create function room_forget_partial(p_room text, p_limit integer) returns bigint language plpgsql as $$
declare
  gone bigint;
  more bigint;
begin
  delete from partial_events where (room_id, nr) in
    (select room_id, nr from partial_events where room_id = p_room limit p_limit);
  get diagnostics gone = row_count;
  delete from partial_rooms where room_id = p_room;
  get diagnostics more = row_count;
  return gone + more;
end
$$;
