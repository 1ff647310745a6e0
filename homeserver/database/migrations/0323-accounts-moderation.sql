-- owner: accounts
-- What an administrator has taken from an account for a while.
alter table users
  add column locked boolean not null default false,
  add column suspended boolean not null default false;

create function log_apply_user_restriction(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  update users u set
    locked = coalesce(r.locked, u.locked),
    suspended = coalesce(r.suspended, u.suspended)
  from (
    select user_id, (array_agg(locked order by i desc) filter (where locked is not null))[1] as locked,
      (array_agg(suspended order by i desc) filter (where suspended is not null))[1] as suspended
    from jsonb_to_recordset(p_rows) as c(i int, user_id text, locked boolean, suspended boolean)
    group by user_id
  ) r
  where u.user_id = r.user_id;
end $$;
