-- owner: stream
-- The one log. Written by log_commit() and by nothing else; pruned by log_prune().

-- A position is taken under the log's lock and only by a batch that has something to write. Rows of a batch become
-- visible together and before the lock is free, so whoever sees a position has everything at or below it.
create sequence log_position;

create table log (
  position bigint primary key,
  kind smallint not null,
  room_id text,
  user_id text,
  ref text not null,
  process text not null,
  at timestamptz not null default now()
);

-- What became of a batch, so that a batch sent again after a lost connection is not written again. Insert only: a row
-- updated in place would leave one dead version per batch behind for as long as somebody holds an old snapshot.
create table log_batches (
  id text collate "C" primary key,
  answer jsonb not null,
  at timestamptz not null default now()
);
create index log_batches_at on log_batches using brin (at);

-- Who may write to a room; raised by every claim.
create table room_fences (
  room_id text collate "C" primary key,
  fence bigint not null,
  process text not null
);

-- Idempotency keys: a row of the same commit as the effect.
create table log_once (
  scope text collate "C" not null,
  key text collate "C" not null,
  answer text not null,
  at timestamptz not null default now(),
  primary key (scope, key)
);
create index log_once_at on log_once using brin (at);

-- Live processes; the lease is by the database's clock.
create table processes (
  id text primary key,
  address text not null,
  lease_until timestamptz not null
);

-- The advisory lock that orders all commits to the log.
create function log_lock_key() returns bigint language sql immutable as $$ select 439804651110 $$;

-- Verdicts of a batch in which something may be wrong, write by write in order: what is refused, and which fences were
-- taken. Writes the keys and the fences of those that are not refused.
create function log_judge(p_process text, p_writes jsonb, out bad jsonb, out bad_writes int[], out fences jsonb)
language plpgsql as $$
declare
  x record;
  broken text[] := '{}';
  verdict jsonb;
  current_fence bigint;
  first_answer text;
begin
  bad := '[]';
  bad_writes := '{}';
  fences := '[]';
  for x in
    select * from jsonb_to_recordset(p_writes) as t(w int, r text, f bigint, c boolean, s text, k text, a text) order by t.w
  loop
    verdict := null;
    if x.f is not null then
      if x.r = any(broken) then
        verdict := jsonb_build_object('w', x.w, 'v', 'chained');
      else
        select fence into current_fence from room_fences where room_id = x.r;
        if not found or current_fence <> x.f then
          verdict := jsonb_build_object('w', x.w, 'v', 'fenced');
        end if;
      end if;
    end if;
    if verdict is null and x.s is not null then
      insert into log_once (scope, key, answer) values (x.s, x.k, x.a) on conflict do nothing;
      if not found then
        select answer into strict first_answer from log_once where scope = x.s and key = x.k;
        verdict := jsonb_build_object('w', x.w, 'v', 'duplicate', 'a', first_answer);
      end if;
    end if;
    if verdict is not null then
      bad := bad || verdict;
      bad_writes := bad_writes || x.w;
      if x.f is not null then
        broken := broken || x.r;
      end if;
    elsif x.c then
      insert into room_fences as t (room_id, fence, process) values (x.r, 1, p_process)
        on conflict (room_id) do update set fence = t.fence + 1, process = excluded.process
        returning fence into current_fence;
      fences := fences || jsonb_build_object('w', x.w, 'f', current_fence);
    end if;
  end loop;
end $$;

-- Writes a batch. Call it as a single autocommitted statement: the lock then lives as long as the statement.
--   p_writes  [{w, r, f}] fence of write w; {w, r, c: true} claim; {w, s, k, a} key; those with none may be absent
--   p_rows    {log: [{i, w, k, r, u, f}], <name>: [{i, w, …}]}; i = index of the entry in the batch, w = of the write
-- Answers {base, before, bad: [{w, v, a}], fences: [{w, f}]}: entry i has position base + i; `before` is the last
-- position handed out before. Without a row for the log there is no base.
--
-- Write log_apply_<name>(rows jsonb, base bigint) in PL/pgSQL: a function in SQL is planned anew at every call. They run
-- with enable_seqscan = off, in no defined order, and must not depend on one another.
create function log_commit(p_batch text, p_process text, p_writes jsonb, p_rows jsonb, p_notify boolean) returns jsonb
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  answer jsonb;
  log_rows jsonb;
  judged record;
  suspects int;
  keys int;
  fresh int;
  n int;
  base bigint;
  name text;
  rows jsonb;
begin
  perform pg_advisory_xact_lock(439804651110);
  select b.answer into answer from log_batches b where b.id = p_batch;
  if found then
    return answer || '{"again": true}';
  end if;
  answer := '{}';

  if p_writes <> '[]' then
    -- The usual case, in which nothing is wrong, is seen in one pass over the fences and one over the keys.
    select count(*) filter (where t.c or o.key is not null
             or (t.f is not null and t.f is distinct from (select fence from room_fences where room_id = t.r))),
           count(t.s), count(distinct (t.s, t.k)) filter (where t.s is not null)
      into suspects, keys, fresh
      from jsonb_to_recordset(p_writes) as t(r text, f bigint, c boolean, s text, k text)
      left join lateral (select q.key from log_once q where q.scope = t.s and q.key = t.k limit 1) o on true;
    if suspects = 0 and keys = fresh then
      if keys > 0 then
        insert into log_once (scope, key, answer)
          select s, k, a from jsonb_to_recordset(p_writes) as t(s text, k text, a text) where s is not null;
      end if;
    else
      select * into judged from log_judge(p_process, p_writes);
      if judged.bad <> '[]' then
        answer := answer || jsonb_build_object('bad', judged.bad);
        select jsonb_object_agg(e.key, (
                 select coalesce(jsonb_agg(r order by o), '[]')
                   from jsonb_array_elements(e.value) with ordinality as t(r, o)
                  where (r ->> 'w')::int <> all (judged.bad_writes)))
          into p_rows
          from jsonb_each(p_rows) as e;
        p_rows := coalesce(p_rows, '{}');
      end if;
      if judged.fences <> '[]' then
        answer := answer || jsonb_build_object('fences', judged.fences);
      end if;
    end if;
  end if;

  log_rows := p_rows -> 'log';
  n := coalesce((log_rows -> -1 ->> 'i')::int + 1, 0);
  if n > 0 then
    base := nextval('log_position');
    if n > 1 then
      perform setval('log_position', base + n - 1);
    end if;
    insert into log (position, kind, room_id, user_id, ref, process)
      select base + t.i, t.k, t.r, t.u, t.f, p_process
        from jsonb_to_recordset(log_rows) as t(i int, k smallint, r text, u text, f text);
    answer := answer || jsonb_build_object('base', base, 'before', base - 1);
  end if;
  for name, rows in select e.key, e.value from jsonb_each(p_rows) e where e.key <> 'log' and e.value <> '[]' loop
    execute format('select %I($1, $2)', 'log_apply_' || name) using rows, coalesce(base, 0);
  end loop;

  insert into log_batches (id, answer) values (p_batch, answer);
  if p_notify and n > 0 then
    perform pg_notify('folkmoot', p_process || ' log ' || (base + n - 1));
  end if;
  return answer;
end $$;

-- Ends the sessions that hold the log's lock while they wait for their client to read or to send: that client is paused
-- or gone, and nothing that is not committed was promised to it. Answers how many were ended.
create function log_release_stalled() returns int language sql as $$
  select count(*) filter (where pg_terminate_backend(a.pid))::int
    from pg_locks l join pg_stat_activity a on a.pid = l.pid
   where l.locktype = 'advisory' and l.granted and l.objsubid = 1
     and l.database = (select oid from pg_database where datname = current_database())
     and (l.classid::bigint << 32) | l.objid::bigint = log_lock_key()
     and a.wait_event_type = 'Client'
     and a.pid <> pg_backend_pid()
$$;

-- Deletes at most p_limit of the oldest rows that are older than p_age_ms, and never the newest row: its position is
-- what a process that starts takes as the head.
create function log_prune(p_age_ms bigint, p_limit int) returns int language plpgsql as $$
declare
  upto bigint;
  pruned int;
begin
  select max(o.position) into upto
    from (select position, at from log order by position limit p_limit) o
   where o.at < now() - p_age_ms * interval '1 millisecond'
     and o.position < (select max(position) from log);
  delete from log where position <= upto;
  get diagnostics pruned = row_count;
  return pruned;
end $$;
