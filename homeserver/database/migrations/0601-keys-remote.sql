-- owner: keys
-- Keys of other servers. `valid_until` is at most seven days after it was fetched; an old key has `expired_at` instead.
create table remote_keys (
  server text not null,
  key_id text not null,
  public_key text not null,
  valid_until bigint not null,
  expired_at bigint,
  primary key (server, key_id)
);

-- What the server last published, as it signed it, for those who ask us as a notary.
create table remote_key_answers (
  server text primary key,
  valid_until bigint not null,
  json text not null
);
