-- owner: delays
-- Events that are sent later unless their sender says otherwise. Times are milliseconds since the epoch.
create table delayed_events (
  delay_id text collate "C" primary key,
  user_id text collate "C" not null,
  device_id text,
  guest boolean not null,
  appservice text,
  room_id text not null,
  type text not null,
  state_key text,
  content text not null,
  origin_server_ts bigint,
  -- The state event that this one is to take the place of: when somebody else has done so, it is not sent.
  replaces text,
  delay_ms bigint not null,
  running_since bigint not null,
  send_at bigint not null,
  attempts int not null default 0,
  -- Until when a process is sending it.
  lease_until bigint not null default 0
);
create index delayed_events_due on delayed_events (send_at);
create index delayed_events_by_user on delayed_events (user_id);
create index delayed_events_by_room on delayed_events (room_id);

create function log_apply_delayed_events(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  insert into delayed_events (delay_id, user_id, device_id, guest, appservice, room_id, type, state_key, content,
      origin_server_ts, replaces, delay_ms, running_since, send_at)
    select r.delay_id, r.user_id, r.device_id, r.guest, r.appservice, r.room_id, r.type, r.state_key, r.content,
        r.origin_server_ts, r.replaces, r.delay_ms, r.running_since, r.running_since + r.delay_ms
      from jsonb_to_recordset(rows) as r(delay_id text, user_id text, device_id text, guest boolean, appservice text,
        room_id text, type text, state_key text, content text, origin_server_ts bigint, replaces text,
        delay_ms bigint, running_since bigint);
end $$;

create function room_forget_delays(p_room text, p_limit int) returns int language plpgsql as $$
declare
  gone int;
begin
  delete from delayed_events where delay_id in (select delay_id from delayed_events where room_id = p_room limit p_limit);
  get diagnostics gone = row_count;
  return gone;
end $$;
