-- owner: encryption
create table to_device_messages (
  user_id text not null,
  device_id text not null,
  position bigint not null,
  sender text not null,
  type text not null,
  content text not null,
  primary key (user_id, device_id, position)
);

create function log_apply_to_device(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  insert into to_device_messages (user_id, device_id, position, sender, type, content)
    select r.user_id, r.device_id, base + r.i, r.sender, r.type, r.content
    from jsonb_to_recordset(rows) as r(i int, user_id text, device_id text, sender text, type text, content text);
end $$;

-- A device is gone, or all devices of a user when device_id is absent: nothing may be encrypted to it any more.
create function log_apply_device_keys_drop(rows jsonb, base bigint) returns void language plpgsql as $$
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
end $$;
