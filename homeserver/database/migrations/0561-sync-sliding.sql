-- owner: sync
-- What a connection of a device has been sent. A position that the client holds names one row; an answer that changes what is
-- remembered writes the next one, and what is older than the position that the client came back with is deleted then.
create sequence sliding_position_numbers;

create table sliding_positions (
  nr bigint primary key default nextval('sliding_position_numbers'),
  user_id text not null,
  device_id text not null,
  conn_id text not null,
  state text not null,
  used_at timestamptz not null default now()
);
create index sliding_positions_by_connection on sliding_positions (user_id, device_id, conn_id, nr);
create index sliding_positions_by_use on sliding_positions (used_at);
