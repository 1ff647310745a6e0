-- owner: presence
-- What outlives a restart; written behind.
create table presence (
  user_id text primary key,
  status_msg text,
  last_active_ts bigint not null
);
