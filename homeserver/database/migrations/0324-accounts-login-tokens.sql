-- owner: accounts
-- Tokens by which somebody who is signed in lets another device of theirs in, once; only their hashes are kept.
create table login_tokens (
  token_hash text primary key,
  user_id text not null,
  expires_at bigint not null
);
create index login_tokens_by_user on login_tokens (user_id);
create index login_tokens_by_expiry on login_tokens (expires_at);
