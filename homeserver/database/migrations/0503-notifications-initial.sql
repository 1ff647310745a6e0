-- owner: notifications
-- What users changed of their push rules; the predefined ones are not stored.
create table push_rules (
  user_id text primary key,
  rules text not null,
  position bigint not null
);

create table pushers (
  user_id text not null,
  app_id text not null,
  pushkey text not null,
  device_id text,
  kind text not null,
  app_display_name text not null,
  device_display_name text not null,
  profile_tag text,
  lang text not null,
  data text not null,
  created_at bigint not null,
  primary key (app_id, pushkey, user_id)
);
create index pushers_user on pushers (user_id);

-- Unread notifications of a user by room and thread (`main` is none). A row is true as of the room's counted_to.
create table unread (
  room_id text not null,
  user_id text not null,
  thread_id text not null,
  notify int not null,
  highlight int not null,
  primary key (room_id, user_id, thread_id)
);
create table unread_rooms (
  room_id text primary key,
  counted_to bigint not null
);

create function log_apply_push_rules(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  insert into push_rules (user_id, rules, position)
    select distinct on (r.user_id) r.user_id, r.rules, base + r.i
    from jsonb_to_recordset(rows) as r(i int, user_id text, rules text)
    order by r.user_id, r.i desc
    on conflict (user_id) do update set rules = excluded.rules, position = excluded.position;
end $$;

-- A device is gone, or all devices of a user when device_id is absent.
create function log_apply_pusher_drop(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  delete from pushers p using jsonb_to_recordset(rows) as r(user_id text, device_id text)
    where p.user_id = r.user_id and (r.device_id is null or p.device_id = r.device_id);
end $$;
