-- owner: accounts
create table users (
  user_id text primary key,
  password_hash text,
  created_at bigint not null,
  admin boolean not null default false,
  guest boolean not null default false,
  appservice text,
  deactivated_at bigint,
  erased boolean not null default false
);
create sequence guest_number;

create table devices (
  user_id text not null,
  device_id text not null,
  display_name text,
  created_at bigint not null,
  last_seen_at bigint,
  last_seen_ip text,
  last_seen_agent text,
  primary key (user_id, device_id)
);

-- Only hashes of tokens are kept.
create table access_tokens (
  token_hash text primary key,
  user_id text not null,
  device_id text not null,
  created_at bigint not null,
  expires_at bigint,
  refresh_hash text
);
create index access_tokens_device on access_tokens (user_id, device_id);
create index access_tokens_refresh on access_tokens (refresh_hash) where refresh_hash is not null;

create table refresh_tokens (
  token_hash text primary key,
  user_id text not null,
  device_id text not null,
  created_at bigint not null,
  -- The token this one was exchanged for; it is revoked when this one or its access token is first used.
  previous_hash text
);
create index refresh_tokens_device on refresh_tokens (user_id, device_id);
create index refresh_tokens_previous on refresh_tokens (previous_hash) where previous_hash is not null;

create table registration_nonces (
  nonce text primary key,
  expires_at bigint not null
);

-- One-time links that make the first admin.
create table admin_invites (
  token_hash text primary key,
  created_at bigint not null,
  expires_at bigint not null
);

create table uia_sessions (
  session_id text primary key,
  flows text not null,
  params text not null,
  request text not null,
  completed text[] not null default '{}',
  result text,
  expires_at bigint not null
);
create index uia_sessions_expiry on uia_sessions (expires_at);

-- A login: the device is made when new, and what tokens it had end. Of two logins in one batch the later one stands.
create function log_apply_session_start(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  delete from access_tokens t using jsonb_to_recordset(rows) as r(user_id text, device_id text)
    where t.user_id = r.user_id and t.device_id = r.device_id;
  delete from refresh_tokens t using jsonb_to_recordset(rows) as r(user_id text, device_id text)
    where t.user_id = r.user_id and t.device_id = r.device_id;
  insert into devices (user_id, device_id, display_name, created_at)
    select distinct on (r.user_id, r.device_id) r.user_id, r.device_id, r.display_name, r.at
    from jsonb_to_recordset(rows) as r(user_id text, device_id text, display_name text, at bigint)
    on conflict (user_id, device_id) do nothing;
  insert into access_tokens (token_hash, user_id, device_id, created_at, expires_at, refresh_hash)
    select distinct on (r.user_id, r.device_id) r.token_hash, r.user_id, r.device_id, r.at, r.expires_at, r.refresh_hash
    from jsonb_to_recordset(rows) as r(i int, user_id text, device_id text, token_hash text, refresh_hash text, expires_at bigint, at bigint)
    order by r.user_id, r.device_id, r.i desc;
  insert into refresh_tokens (token_hash, user_id, device_id, created_at)
    select distinct on (r.user_id, r.device_id) r.refresh_hash, r.user_id, r.device_id, r.at
    from jsonb_to_recordset(rows) as r(i int, user_id text, device_id text, refresh_hash text, at bigint)
    where r.refresh_hash is not null
    order by r.user_id, r.device_id, r.i desc;
end $$;

-- The end of a device, or of all devices of a user when device_id is absent.
create function log_apply_session_end(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  delete from access_tokens t using jsonb_to_recordset(rows) as r(user_id text, device_id text)
    where t.user_id = r.user_id and (r.device_id is null or t.device_id = r.device_id);
  delete from refresh_tokens t using jsonb_to_recordset(rows) as r(user_id text, device_id text)
    where t.user_id = r.user_id and (r.device_id is null or t.device_id = r.device_id);
  delete from devices d using jsonb_to_recordset(rows) as r(user_id text, device_id text)
    where d.user_id = r.user_id and (r.device_id is null or d.device_id = r.device_id);
end $$;

-- The exchange of a refresh token: an earlier exchange of the same one, never used, is undone.
create function log_apply_session_refresh(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  with undone as (
    delete from refresh_tokens t using jsonb_to_recordset(rows) as r(previous_hash text)
      where t.previous_hash = r.previous_hash returning t.token_hash
  )
  delete from access_tokens a using undone u where a.refresh_hash = u.token_hash;
  insert into refresh_tokens (token_hash, user_id, device_id, created_at, previous_hash)
    select distinct on (r.previous_hash) r.refresh_hash, r.user_id, r.device_id, r.at, r.previous_hash
    from jsonb_to_recordset(rows) as r(i int, user_id text, device_id text, refresh_hash text, previous_hash text, at bigint)
    order by r.previous_hash, r.i desc;
  insert into access_tokens (token_hash, user_id, device_id, created_at, expires_at, refresh_hash)
    select distinct on (r.previous_hash) r.token_hash, r.user_id, r.device_id, r.at, r.expires_at, r.refresh_hash
    from jsonb_to_recordset(rows) as r(i int, user_id text, device_id text, token_hash text, refresh_hash text, previous_hash text, expires_at bigint, at bigint)
    order by r.previous_hash, r.i desc;
end $$;

-- First use of what a refresh token was exchanged for: the token and its access token end.
create function log_apply_session_rotated(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  delete from access_tokens a using jsonb_to_recordset(rows) as r(previous_hash text)
    where a.refresh_hash = r.previous_hash;
  delete from refresh_tokens t using jsonb_to_recordset(rows) as r(previous_hash text)
    where t.token_hash = r.previous_hash;
  update refresh_tokens t set previous_hash = null from jsonb_to_recordset(rows) as r(previous_hash text)
    where t.previous_hash = r.previous_hash;
end $$;

-- What a user is allowed changes: admin flag, password, the end of the account.
create function log_apply_user_change(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  update users u set
    admin = coalesce(r.admin, u.admin),
    password_hash = case when r.deactivated_at is not null then null else coalesce(r.password_hash, u.password_hash) end,
    deactivated_at = coalesce(r.deactivated_at, u.deactivated_at),
    erased = u.erased or coalesce(r.erased, false)
  from (
    select distinct on (user_id) * from jsonb_to_recordset(rows)
      as c(i int, user_id text, admin boolean, password_hash text, deactivated_at bigint, erased boolean)
    order by user_id, i desc
  ) r
  where u.user_id = r.user_id;
end $$;
