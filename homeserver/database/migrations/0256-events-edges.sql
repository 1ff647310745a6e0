-- owner: events
-- Each event of an edge is looked up by itself: a join was planned once, for an empty table, and read all of the index later.
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
    cross join lateral (select x.nr from events x where x.event_id = r.event_id limit 1) as e
    cross join lateral jsonb_array_elements_text(r.auth) as named(id)
    cross join lateral (select x.nr from events x where x.event_id = named.id limit 1) as a
    on conflict do nothing;
  end if;
end
$$;
