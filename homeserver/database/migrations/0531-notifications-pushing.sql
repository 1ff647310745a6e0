-- owner: notifications
alter table pushers
  add column enabled boolean not null default true,
  -- Milliseconds since the epoch: when the client last set it.
  add column updated_at bigint,
  -- Log position after which there is something that the gateway did not take; null: nothing is missing there.
  add column behind_from bigint,
  -- Since when the gateway does not answer, how often it was tried, and when it is to be tried again.
  add column failing_since bigint,
  add column failures int not null default 0,
  add column next_try_at bigint;
create index pushers_behind on pushers (next_try_at) where behind_from is not null;
create index unread_user on unread (user_id);

-- Up to which log position each process has sent what there was to push: where another one begins when it dies.
create table push_progress (
  process_id text primary key,
  position bigint not null,
  stored_at timestamptz not null default now()
);

-- Other users' pushers of the same app and key go, unless `append`.
create function log_apply_pushers(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  delete from pushers p using jsonb_to_recordset(rows) as r(user_id text, app_id text, pushkey text, append boolean)
    where p.app_id = r.app_id and p.pushkey = r.pushkey and p.user_id <> r.user_id and not r.append;
  insert into pushers (user_id, app_id, pushkey, device_id, kind, app_display_name, device_display_name, profile_tag,
      lang, data, created_at, updated_at, enabled)
    select distinct on (r.app_id, r.pushkey, r.user_id) r.user_id, r.app_id, r.pushkey, r.device_id, r.kind,
      r.app_display_name, r.device_display_name, r.profile_tag, r.lang, r.data, r.updated_at, r.updated_at, r.enabled
    from jsonb_to_recordset(rows) as r(i int, user_id text, app_id text, pushkey text, device_id text, kind text,
      app_display_name text, device_display_name text, profile_tag text, lang text, data text, updated_at bigint,
      enabled boolean)
    order by r.app_id, r.pushkey, r.user_id, r.i desc
    on conflict (app_id, pushkey, user_id) do update set device_id = excluded.device_id, kind = excluded.kind,
      app_display_name = excluded.app_display_name, device_display_name = excluded.device_display_name,
      profile_tag = excluded.profile_tag, lang = excluded.lang, data = excluded.data,
      updated_at = excluded.updated_at, enabled = excluded.enabled,
      behind_from = null, failing_since = null, failures = 0, next_try_at = null;
end $$;

create function log_apply_pusher_delete(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  delete from pushers p using jsonb_to_recordset(rows) as r(user_id text, app_id text, pushkey text)
    where p.user_id = r.user_id and p.app_id = r.app_id and p.pushkey = r.pushkey;
end $$;
