-- owner: encryption
-- A user's device that nobody is signed in on: what a later device needs to become it, encrypted by the client.
create table dehydrated_devices (
  user_id text primary key,
  device_id text not null,
  device_data text not null
);

create function log_apply_dehydrated_device(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  insert into dehydrated_devices (user_id, device_id, device_data)
    select distinct on (r.user_id) r.user_id, r.device_id, r.device_data
    from jsonb_to_recordset(p_rows) as r(i int, user_id text, device_id text, device_data text)
    order by r.user_id, r.i desc
    on conflict (user_id) do update set device_id = excluded.device_id, device_data = excluded.device_data;
end $$;

-- As before; a dehydrated device, too, is gone with its keys.
create or replace function log_apply_device_keys_drop(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  delete from device_keys t using jsonb_to_recordset(rows) as r(user_id text, device_id text)
    where t.user_id = r.user_id and (r.device_id is null or t.device_id = r.device_id);
  delete from one_time_keys t using jsonb_to_recordset(rows) as r(user_id text, device_id text)
    where t.user_id = r.user_id and (r.device_id is null or t.device_id = r.device_id);
  delete from fallback_keys t using jsonb_to_recordset(rows) as r(user_id text, device_id text)
    where t.user_id = r.user_id and (r.device_id is null or t.device_id = r.device_id);
  delete from key_signatures t using jsonb_to_recordset(rows) as r(user_id text, device_id text)
    where t.target_user_id = r.user_id and t.target_key_id = r.device_id;
  delete from to_device_messages t using jsonb_to_recordset(rows) as r(user_id text, device_id text)
    where t.user_id = r.user_id and (r.device_id is null or t.device_id = r.device_id);
  delete from cross_signing_keys t using jsonb_to_recordset(rows) as r(user_id text, device_id text)
    where t.user_id = r.user_id and r.device_id is null;
  delete from dehydrated_devices t using jsonb_to_recordset(rows) as r(user_id text, device_id text)
    where t.user_id = r.user_id and (r.device_id is null or t.device_id = r.device_id);
end $$;
