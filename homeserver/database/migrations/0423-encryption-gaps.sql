-- owner: encryption
-- As before; a list that has become stale is asked for again at once (`due_at` 0), and not only when somebody wants it.
create or replace function log_apply_remote_device_update(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
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
      update remote_device_lists l set fresh = false, version = l.version + 1, due_at = 0
       where l.user_id = r.user_id and not (l.fresh and l.stream_id is not distinct from r.stream_id);
    elsif r.keys is null then
      delete from remote_devices d where d.user_id = r.user_id and d.device_id = r.device_id;
    else
      insert into remote_devices (user_id, device_id, keys) values (r.user_id, r.device_id, r.keys)
      on conflict (user_id, device_id) do update set keys = excluded.keys;
    end if;
  end loop;
end $$;

create or replace function log_apply_remote_list_stale(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  update remote_device_lists l set fresh = false, version = l.version + 1, due_at = 0
    from (select distinct user_id from jsonb_to_recordset(rows) as r(user_id text)) s
    where l.user_id = s.user_id;
end $$;
