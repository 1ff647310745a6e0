-- owner: accounts
-- Mail addresses that belong to users, and those that somebody is proving to own.
create table user_addresses (
  medium text not null,
  address text not null,
  user_id text not null,
  validated_at bigint not null,
  added_at bigint not null,
  primary key (medium, address)
);
create index user_addresses_of on user_addresses (user_id);

create table address_sessions (
  session_id text primary key,
  client_secret text not null,
  purpose text not null,
  address text not null,
  token_hash text not null,
  send_attempt bigint not null,
  next_link text,
  expires_at bigint not null,
  validated_at bigint,
  -- Interactive authentication that this address has confirmed.
  uia_session text
);
create unique index address_sessions_asked on address_sessions (client_secret, purpose, address);
create index address_sessions_expiry on address_sessions (expires_at);
create index address_sessions_uia on address_sessions (uia_session) where uia_session is not null;

-- Identity servers with which an address was bound at the user's wish.
create table address_bindings (
  user_id text not null,
  medium text not null,
  address text not null,
  id_server text not null,
  primary key (user_id, medium, address, id_server)
);
