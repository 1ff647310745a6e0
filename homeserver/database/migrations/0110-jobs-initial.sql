-- owner: jobs
-- Work to be done after a commit: a row of the same commit. Removed by the commit that holds the job's effect.
create table jobs (
  id text collate "C" primary key,
  kind text not null,
  payload jsonb not null,
  run_at timestamptz not null,
  attempts int not null default 0,
  lease_until timestamptz,
  last_error text,
  dead boolean not null default false
);
create index jobs_due on jobs (run_at) where not dead;

-- rows: [{id, kind, payload, run_at_ms}]; a job that is there already stays as it is.
create function log_apply_jobs(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  insert into jobs (id, kind, payload, run_at)
    select r.id, r.kind, r.payload, to_timestamp(r.run_at_ms / 1000.0)
      from jsonb_to_recordset(rows) as r(id text, kind text, payload jsonb, run_at_ms bigint)
    on conflict (id) do nothing;
end $$;

-- rows: [{id}]
create function log_apply_jobs_done(rows jsonb, base bigint) returns void language plpgsql as $$
begin
  delete from jobs j using jsonb_to_recordset(rows) as r(id text) where j.id = r.id;
end $$;
