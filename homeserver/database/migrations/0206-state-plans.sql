-- owner: state
-- In PL/pgSQL, which keeps its plans; a function in SQL is planned anew at every batch.
create or replace function log_apply_state_nodes(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  insert into state_nodes (id, slots)
  select r.id, r.slots from jsonb_to_recordset(p_rows) as r(id bigint, slots text)
  on conflict do nothing;
end
$$;
