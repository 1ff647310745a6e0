-- owner: encryption
-- The newest update of a remote user's devices that is in what is kept; null when the list came without a number.
alter table remote_device_lists add column stream_id bigint;

-- m.device_list_update: goes into a list that has just what it refers to, and otherwise makes the list stale. One that
-- the list has already changes nothing. `keys` is absent for a device that is gone or has none.
create function log_apply_remote_device_update(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
declare
  r record;
begin
  for r in
    select * from jsonb_to_recordset(p_rows)
      as t(i int, user_id text, device_id text, stream_id bigint, prev_ids bigint[], keys text, devices_max int)
  loop
    update remote_device_lists l set stream_id = r.stream_id, version = l.version + 1
     where l.user_id = r.user_id and l.fresh and cardinality(r.prev_ids) > 0 and l.stream_id = all(r.prev_ids)
       and (r.keys is null or (select count(*) from remote_devices d where d.user_id = r.user_id) < r.devices_max);
    if not found then
      update remote_device_lists l set fresh = false, version = l.version + 1
       where l.user_id = r.user_id and not (l.fresh and l.stream_id is not distinct from r.stream_id);
    elsif r.keys is null then
      delete from remote_devices d where d.user_id = r.user_id and d.device_id = r.device_id;
    else
      insert into remote_devices (user_id, device_id, keys) values (r.user_id, r.device_id, r.keys)
      on conflict (user_id, device_id) do update set keys = excluded.keys;
    end if;
  end loop;
end $$;

-- m.signing_key_update: goes into a list that is kept; a stale one is asked for anyway.
create function log_apply_remote_signing_update(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
declare
  r record;
  is_fresh boolean;
begin
  for r in select * from jsonb_to_recordset(p_rows) as t(i int, user_id text, usage text, key text)
  loop
    -- Also of a stale list: an answer that is on its way may be older.
    update remote_device_lists l set version = l.version + 1 where l.user_id = r.user_id returning l.fresh into is_fresh;
    if is_fresh then
      insert into cross_signing_keys (user_id, usage, key) values (r.user_id, r.usage, r.key)
      on conflict (user_id, usage) do update set key = excluded.key;
    end if;
  end loop;
end $$;
