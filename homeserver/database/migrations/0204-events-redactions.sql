-- owner: events
-- Null: the target is not known yet. Only valid redactions are applied to their targets.
alter table redactions add column valid boolean;

create or replace function log_apply_redactions(p_rows jsonb, p_base bigint) returns void language sql as $$
  insert into redactions (redacts, event_id, room_id, valid)
  select redacts, event_id, room_id, valid
  from jsonb_to_recordset(p_rows) as r(redacts text, event_id text, room_id text, valid boolean)
  on conflict (redacts, event_id) do update set valid = excluded.valid
$$;

-- Versions of rooms of which this server knows only an invite or a knock.
create function log_apply_room_versions(p_rows jsonb, p_base bigint) returns void language sql as $$
  insert into rooms (room_id, version)
  select distinct room_id, version from jsonb_to_recordset(p_rows) as r(room_id text, version text)
  on conflict do nothing
$$;
