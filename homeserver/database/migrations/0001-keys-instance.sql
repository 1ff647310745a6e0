-- owner: keys

-- What belongs to the instance and not to a machine: its name, its signing key, its secrets. A value is written once
-- (`on conflict do nothing`) and never updated, so that every process agrees; `kept_in` says where a secret lies that
-- is not stored here, and `value` is then only its fingerprint.
create table instance_secrets (
  name text primary key,
  value text not null,
  kept_in text not null default 'database' check (kept_in in ('database', 'file')),
  created_at timestamptz not null default now()
);
