-- owner: rooms
-- Where walks through spaces stopped, for the token that the client goes on with.
create table hierarchy_pages (
  token text primary key,
  user_id text not null,
  room_id text not null,
  state text not null,
  expires_at bigint not null
);
create index hierarchy_pages_by_expiry on hierarchy_pages (expires_at);
