-- owner: encryption
create table device_keys (
  user_id text not null,
  device_id text not null,
  keys text not null,
  primary key (user_id, device_id)
);

create table one_time_keys (
  user_id text not null,
  device_id text not null,
  algorithm text not null,
  key_id text not null,
  key text not null,
  -- Order of upload.
  nr bigint generated always as identity,
  primary key (user_id, device_id, algorithm, key_id)
);
create index one_time_keys_order on one_time_keys (user_id, device_id, algorithm, nr);

create table fallback_keys (
  user_id text not null,
  device_id text not null,
  algorithm text not null,
  key_id text not null,
  key text not null,
  used boolean not null default false,
  primary key (user_id, device_id, algorithm)
);

-- Of local users, and of remote users whose list is kept.
create table cross_signing_keys (
  user_id text not null,
  usage text not null,
  key text not null,
  primary key (user_id, usage)
);

-- Signatures that users of this server made: on their devices, their master key and the master keys of others.
create table key_signatures (
  target_user_id text not null,
  -- A device id, or the public part of a cross-signing key.
  target_key_id text not null,
  signer_user_id text not null,
  signer_key_id text not null,
  signature text not null,
  primary key (target_user_id, target_key_id, signer_user_id, signer_key_id)
);

-- When a user's devices or keys changed last: answers what is older than the kept log.
create table device_list_changes (
  user_id text primary key,
  position bigint not null
);
create index device_list_changes_position on device_list_changes (position);

-- The newest update that other servers were sent about a local user.
create sequence device_list_stream;
create table device_list_streams (
  user_id text primary key,
  stream_id bigint not null
);

-- Devices of remote users. `version` counts what made the list stale, so that an answer asked for before is not kept.
create table remote_device_lists (
  user_id text primary key,
  version bigint not null default 0,
  fresh boolean not null default false
);
create table remote_devices (
  user_id text not null,
  device_id text not null,
  keys text not null,
  primary key (user_id, device_id)
);

create function log_apply_device_list(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  insert into device_list_changes (user_id, position)
    select r.user_id, base + max(r.i) from jsonb_to_recordset(rows) as r(i int, user_id text) group by r.user_id
    on conflict (user_id) do update set position = excluded.position;
end $$;

create function log_apply_device_keys(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  insert into device_keys (user_id, device_id, keys)
    select distinct on (r.user_id, r.device_id) r.user_id, r.device_id, r.keys
    from jsonb_to_recordset(rows) as r(i int, user_id text, device_id text, keys text)
    order by r.user_id, r.device_id, r.i desc
    on conflict (user_id, device_id) do update set keys = excluded.keys;
end $$;

create function log_apply_one_time_keys(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  insert into one_time_keys (user_id, device_id, algorithm, key_id, key)
    select r.user_id, r.device_id, r.algorithm, r.key_id, r.key
    from jsonb_to_recordset(rows) as r(user_id text, device_id text, algorithm text, key_id text, key text)
    on conflict do nothing;
end $$;

create function log_apply_fallback_keys(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  insert into fallback_keys (user_id, device_id, algorithm, key_id, key)
    select distinct on (r.user_id, r.device_id, r.algorithm) r.user_id, r.device_id, r.algorithm, r.key_id, r.key
    from jsonb_to_recordset(rows) as r(i int, user_id text, device_id text, algorithm text, key_id text, key text)
    order by r.user_id, r.device_id, r.algorithm, r.i desc
    on conflict (user_id, device_id, algorithm) do update set
      used = fallback_keys.used and fallback_keys.key_id = excluded.key_id and fallback_keys.key = excluded.key,
      key_id = excluded.key_id, key = excluded.key;
end $$;

create function log_apply_cross_signing_keys(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  insert into cross_signing_keys (user_id, usage, key)
    select distinct on (r.user_id, r.usage) r.user_id, r.usage, r.key
    from jsonb_to_recordset(rows) as r(i int, user_id text, usage text, key text)
    order by r.user_id, r.usage, r.i desc
    on conflict (user_id, usage) do update set key = excluded.key;
end $$;

create function log_apply_key_signatures(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  insert into key_signatures (target_user_id, target_key_id, signer_user_id, signer_key_id, signature)
    select distinct on (r.target_user_id, r.target_key_id, r.signer_user_id, r.signer_key_id)
      r.target_user_id, r.target_key_id, r.signer_user_id, r.signer_key_id, r.signature
    from jsonb_to_recordset(rows) as r(i int, target_user_id text, target_key_id text, signer_user_id text,
      signer_key_id text, signature text)
    order by r.target_user_id, r.target_key_id, r.signer_user_id, r.signer_key_id, r.i desc
    on conflict (target_user_id, target_key_id, signer_user_id, signer_key_id)
      do update set signature = excluded.signature;
end $$;

create function log_apply_remote_list_stale(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  update remote_device_lists l set fresh = false, version = l.version + 1
    from (select distinct user_id from jsonb_to_recordset(rows) as r(user_id text)) s
    where l.user_id = s.user_id;
end $$;

-- What only the signer's own devices have to learn: they signed somebody's master key.
create table signature_changes (
  user_id text not null,
  target_user_id text not null,
  position bigint not null,
  primary key (user_id, target_user_id)
);

create function log_apply_signature_change(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  insert into signature_changes (user_id, target_user_id, position)
    select r.user_id, r.target_user_id, base + max(r.i)
    from jsonb_to_recordset(rows) as r(i int, user_id text, target_user_id text) group by r.user_id, r.target_user_id
    on conflict (user_id, target_user_id) do update set position = excluded.position;
end $$;
