-- owner: events
-- Numbers for events and state nodes; every process takes a thousand at a time, so that they are known before the commit.
create sequence event_numbers increment by 1000 start with 1000;

create table rooms (
  room_id text primary key,
  version text not null,
  -- Forward extremities of the part of the DAG that this server has accepted.
  extremities text[] not null default '{}',
  depth bigint not null default 0,
  state_root bigint not null default 0
);

create table events (
  nr bigint primary key,
  event_id text not null,
  room_id text not null,
  type text not null,
  state_key text,
  sender text not null,
  depth bigint not null,
  origin_server_ts bigint not null,
  -- > 0: log position; < 0: backfilled; null: outlier, rejected or soft-failed.
  position bigint,
  state_before bigint,
  state_after bigint,
  rejected text,
  soft_failed boolean not null default false,
  txn_device text,
  txn_id text,
  -- The state event of the same key that was current before this one.
  replaces bigint,
  -- As it was signed; text and not jsonb, which cannot hold every event faithfully.
  json text not null
);
create unique index events_by_id on events (event_id);
create index events_history on events (room_id, depth, position) where position is not null;
create index events_live on events (room_id, position) where position > 0;

-- Edges to events that are not stored: where history is missing, and which late arrival already has successors.
create table missing_edges (
  prev_event_id text not null,
  event_id text not null,
  room_id text not null,
  primary key (prev_event_id, event_id)
);
create index missing_edges_by_room on missing_edges (room_id);

-- Redactions by what they redact; they may be known before their target.
create table redactions (
  redacts text not null,
  event_id text not null,
  room_id text not null,
  primary key (redacts, event_id)
);

create table event_relations (
  event_id text primary key,
  relates_to text not null,
  room_id text not null,
  rel_type text not null,
  type text not null,
  sender text not null,
  aggregation_key text
);
create index event_relations_by_target on event_relations (relates_to, rel_type);

create function log_apply_events(p_rows jsonb, p_base bigint) returns void language sql as $$
  insert into events (nr, event_id, room_id, type, state_key, sender, depth, origin_server_ts, position,
                      state_before, state_after, rejected, soft_failed, txn_device, txn_id, replaces, json)
  select nr, event_id, room_id, type, state_key, sender, depth, origin_server_ts,
         case when i is null then position else p_base + i end,
         state_before, state_after, rejected, coalesce(soft_failed, false), txn_device, txn_id, replaces, json
  from jsonb_to_recordset(p_rows) as r(
    i bigint, nr bigint, event_id text, room_id text, type text, state_key text, sender text, depth bigint,
    origin_server_ts bigint, position bigint, state_before bigint, state_after bigint, rejected text,
    soft_failed boolean, txn_device text, txn_id text, replaces bigint, json text)
  -- An outlier that is accepted now keeps its number and its bytes.
  on conflict (event_id) do update set
    position = excluded.position, state_before = excluded.state_before, state_after = excluded.state_after,
    rejected = excluded.rejected, soft_failed = excluded.soft_failed, replaces = excluded.replaces
  where events.position is null
$$;

create function log_apply_room_heads(p_rows jsonb, p_base bigint) returns void language sql as $$
  insert into rooms (room_id, version, extremities, depth, state_root)
  select distinct on (r ->> 'room_id') r ->> 'room_id', r ->> 'version',
         array(select jsonb_array_elements_text(r -> 'extremities')), (r ->> 'depth')::bigint, (r ->> 'state_root')::bigint
  from jsonb_array_elements(p_rows) with ordinality as t(r, ord)
  order by r ->> 'room_id', ord desc
  on conflict (room_id) do update set
    extremities = excluded.extremities, depth = excluded.depth, state_root = excluded.state_root
$$;

create function log_apply_missing_edges(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  insert into missing_edges (prev_event_id, event_id, room_id)
  select prev_event_id, event_id, room_id
  from jsonb_to_recordset(p_rows) as r(prev_event_id text, event_id text, room_id text)
  where event_id is not null
  on conflict do nothing;
  -- A row without a successor says that the edge's target has arrived.
  delete from missing_edges m using jsonb_to_recordset(p_rows) as r(prev_event_id text, event_id text)
  where r.event_id is null and m.prev_event_id = r.prev_event_id;
end
$$;

create function log_apply_redactions(p_rows jsonb, p_base bigint) returns void language sql as $$
  insert into redactions (redacts, event_id, room_id)
  select redacts, event_id, room_id from jsonb_to_recordset(p_rows) as r(redacts text, event_id text, room_id text)
  on conflict do nothing
$$;

create function log_apply_event_relations(p_rows jsonb, p_base bigint) returns void language sql as $$
  insert into event_relations (event_id, relates_to, room_id, rel_type, type, sender, aggregation_key)
  select event_id, relates_to, room_id, rel_type, type, sender, aggregation_key
  from jsonb_to_recordset(p_rows) as r(event_id text, relates_to text, room_id text, rel_type text, type text,
                                       sender text, aggregation_key text)
  on conflict do nothing
$$;
