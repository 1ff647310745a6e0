-- owner: encryption
create table key_backups (
  user_id text not null,
  version bigint not null,
  algorithm text not null,
  auth_data text not null,
  -- Changes with every change of the stored keys.
  etag bigint not null default 0,
  deleted boolean not null default false,
  primary key (user_id, version)
);

create table key_backup_sessions (
  user_id text not null,
  version bigint not null,
  room_id text not null,
  session_id text not null,
  first_message_index bigint not null,
  forwarded_count bigint not null,
  is_verified boolean not null,
  session_data text not null,
  primary key (user_id, version, room_id, session_id)
);

-- The account is closed.
create function log_apply_backup_drop(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  delete from key_backup_sessions t using jsonb_to_recordset(rows) as r(user_id text) where t.user_id = r.user_id;
  update key_backups t set deleted = true from jsonb_to_recordset(rows) as r(user_id text) where t.user_id = r.user_id;
end $$;
