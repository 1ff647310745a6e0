-- owner: encryption
-- Places where two devices leave each other messages while one of them is signed in. They live for minutes: a crash of
-- the database may take them.
create unlogged table rendezvous_sessions (
  id text primary key,
  -- Another one with every write.
  revision text not null,
  -- Base64.
  data text not null,
  content_type text not null,
  changed_at bigint not null,
  expires_at bigint not null
);
create index rendezvous_sessions_by_expiry on rendezvous_sessions (expires_at);
