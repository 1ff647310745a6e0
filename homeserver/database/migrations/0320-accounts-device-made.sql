-- owner: accounts
-- A device that nobody is signed in on.
create function log_apply_device_made(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  insert into devices (user_id, device_id, display_name, created_at)
    select distinct on (r.user_id, r.device_id) r.user_id, r.device_id, r.display_name, r.at
    from jsonb_to_recordset(p_rows) as r(i int, user_id text, device_id text, display_name text, at bigint)
    order by r.user_id, r.device_id, r.i desc
    on conflict (user_id, device_id) do nothing;
end $$;
