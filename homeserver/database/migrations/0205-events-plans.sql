-- owner: events
-- In PL/pgSQL, which keeps its plans; a function in SQL is planned anew at every batch. An event that may authorise others
-- brings the ids of its auth events along, which become edges.

-- Which stored state events name which as auth events, for the way from an event to those that rest on it; the way down is in
-- the events themselves.
create table auth_edges (
  auth_nr bigint not null,
  nr bigint not null,
  primary key (auth_nr, nr)
);

-- The texts are canonical, so that auth_events come before the content.
insert into auth_edges (auth_nr, nr)
select distinct a.nr, e.nr
from events e
cross join lateral regexp_matches(split_part(e.json, '"content":', 1), '"(\$[^"]+)"', 'g') as named(id)
join events a on a.event_id = named.id[1]
where e.state_key is not null
on conflict do nothing;

create or replace function log_apply_events(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  insert into events (nr, event_id, room_id, type, state_key, sender, depth, origin_server_ts, position,
                      state_before, state_after, rejected, soft_failed, txn_device, txn_id, replaces, json)
  select r.nr, r.event_id, r.room_id, r.type, r.state_key, r.sender, r.depth, r.origin_server_ts,
         case when r.i is null then r.position else p_base + r.i end,
         r.state_before, r.state_after, r.rejected, coalesce(r.soft_failed, false), r.txn_device, r.txn_id, r.replaces, r.json
  from jsonb_to_recordset(p_rows) as r(
    i bigint, nr bigint, event_id text, room_id text, type text, state_key text, sender text, depth bigint,
    origin_server_ts bigint, position bigint, state_before bigint, state_after bigint, rejected text,
    soft_failed boolean, txn_device text, txn_id text, replaces bigint, json text)
  -- An outlier that is accepted now keeps its number and its bytes.
  on conflict (event_id) do update set
    position = excluded.position, state_before = excluded.state_before, state_after = excluded.state_after,
    rejected = excluded.rejected, soft_failed = excluded.soft_failed, replaces = excluded.replaces
  where events.position is null;
  if p_rows @? '$[*].auth[*]' then
    insert into auth_edges (auth_nr, nr)
    select a.nr, e.nr
    from jsonb_to_recordset(p_rows) as r(event_id text, auth jsonb)
    cross join lateral jsonb_array_elements_text(r.auth) as named(id)
    join events e on e.event_id = r.event_id
    join events a on a.event_id = named.id
    on conflict do nothing;
  end if;
end
$$;

create or replace function log_apply_room_heads(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  insert into rooms (room_id, version, extremities, depth, state_root)
  select distinct on (r ->> 'room_id') r ->> 'room_id', r ->> 'version',
         array(select jsonb_array_elements_text(r -> 'extremities')), (r ->> 'depth')::bigint, (r ->> 'state_root')::bigint
  from jsonb_array_elements(p_rows) with ordinality as t(r, ord)
  order by r ->> 'room_id', ord desc
  on conflict (room_id) do update set
    extremities = excluded.extremities, depth = excluded.depth, state_root = excluded.state_root;
end
$$;

create or replace function log_apply_redactions(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  insert into redactions (redacts, event_id, room_id, valid)
  select r.redacts, r.event_id, r.room_id, r.valid
  from jsonb_to_recordset(p_rows) as r(redacts text, event_id text, room_id text, valid boolean)
  on conflict (redacts, event_id) do update set valid = excluded.valid;
end
$$;

create or replace function log_apply_room_versions(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  insert into rooms (room_id, version)
  select distinct r.room_id, r.version from jsonb_to_recordset(p_rows) as r(room_id text, version text)
  on conflict do nothing;
end
$$;

create or replace function log_apply_event_relations(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  insert into event_relations (event_id, relates_to, room_id, rel_type, type, sender, aggregation_key)
  select r.event_id, r.relates_to, r.room_id, r.rel_type, r.type, r.sender, r.aggregation_key
  from jsonb_to_recordset(p_rows) as r(event_id text, relates_to text, room_id text, rel_type text, type text,
                                       sender text, aggregation_key text)
  on conflict do nothing;
end
$$;
