-- owner: receipts
create table receipts (
  room_id text not null,
  user_id text not null,
  type text not null,
  -- Empty for a receipt of the whole room; `main` or the root of a thread.
  thread_id text not null default '',
  event_id text not null,
  ts bigint not null,
  position bigint not null,
  primary key (room_id, user_id, type, thread_id)
);
create index receipts_position on receipts (room_id, position);

create function log_apply_receipts(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  insert into receipts (room_id, user_id, type, thread_id, event_id, ts, position)
    select distinct on (r.room_id, r.user_id, r.type, r.thread_id)
      r.room_id, r.user_id, r.type, r.thread_id, r.event_id, r.ts, base + r.i
    from jsonb_to_recordset(rows) as r(i int, room_id text, user_id text, type text, thread_id text, event_id text, ts bigint)
    order by r.room_id, r.user_id, r.type, r.thread_id, r.i desc
    on conflict (room_id, user_id, type, thread_id)
      do update set event_id = excluded.event_id, ts = excluded.ts, position = excluded.position;
end $$;
