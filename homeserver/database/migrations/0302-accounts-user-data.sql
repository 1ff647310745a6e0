-- owner: accounts
create table profile_fields (
  user_id text not null,
  field text not null,
  value text not null,
  primary key (user_id, field)
);

create table account_data (
  user_id text not null,
  -- Empty for what is not of one room.
  room_id text not null default '',
  type text not null,
  content text not null,
  position bigint not null,
  primary key (user_id, room_id, type)
);
create index account_data_position on account_data (user_id, position);

create table filters (
  user_id text not null,
  filter_id bigint not null,
  filter text not null,
  -- sha256 of the text: the same filter gets the same id.
  hash text not null,
  primary key (user_id, filter_id),
  unique (user_id, hash)
);

create function log_apply_account_data(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  insert into account_data (user_id, room_id, type, content, position)
    select distinct on (r.user_id, r.room_id, r.type) r.user_id, r.room_id, r.type, r.content, base + r.i
    from jsonb_to_recordset(rows) as r(i int, user_id text, room_id text, type text, content text)
    order by r.user_id, r.room_id, r.type, r.i desc
    on conflict (user_id, room_id, type) do update set content = excluded.content, position = excluded.position;
end $$;
