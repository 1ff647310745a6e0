-- owner: accounts
-- Tokens by which users prove to others who they are; only their hashes are kept.
create table openid_tokens (
  token_hash text primary key,
  user_id text not null,
  expires_at bigint not null
);
create index openid_tokens_by_user on openid_tokens (user_id);
create index openid_tokens_by_expiry on openid_tokens (expires_at);
