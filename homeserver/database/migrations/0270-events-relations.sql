-- owner: events
-- Pages of what relates to an event, in the order of the room's history, without reading the events themselves; and the
-- threads of a room by what was said last in them.

alter table event_relations add column depth bigint, add column position bigint;

update event_relations r set depth = e.depth, position = e.position from events e where e.event_id = r.event_id;
delete from event_relations where position is null;

alter table event_relations alter column depth set not null, alter column position set not null;

drop index event_relations_by_target;
create index event_relations_by_type on event_relations (relates_to, rel_type, depth, position);
create index event_relations_in_order on event_relations (relates_to, depth, position);

-- The place of a thread's newest event, or a later one when that was redacted or purged: whoever reads the list looks
-- at the events, and corrects it.
create table threads (
  room_id text not null,
  -- Id of the event that the thread begins with.
  root text not null,
  depth bigint not null,
  position bigint not null,
  primary key (room_id, root)
);
create index threads_in_order on threads (room_id, depth, position);

insert into threads (room_id, root, depth, position)
select distinct on (room_id, relates_to) room_id, relates_to, depth, position
from event_relations where rel_type = 'm.thread'
order by room_id, relates_to, depth desc, position desc;

create or replace function log_apply_event_relations(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  insert into event_relations (event_id, relates_to, room_id, rel_type, type, sender, aggregation_key, depth, position)
  select r.event_id, r.relates_to, r.room_id, r.rel_type, r.type, r.sender, r.aggregation_key, r.depth,
         case when r.i is null then r.position else p_base + r.i end
  from jsonb_to_recordset(p_rows) as r(i bigint, event_id text, relates_to text, room_id text, rel_type text, type text,
                                       sender text, aggregation_key text, depth bigint, position bigint)
  on conflict do nothing;
  if p_rows @? '$[*] ? (@.rel_type == "m.thread")' then
    insert into threads (room_id, root, depth, position)
    select distinct on (1, 2) r.room_id, r.relates_to, r.depth, case when r.i is null then r.position else p_base + r.i end
    from jsonb_to_recordset(p_rows) as r(i bigint, relates_to text, room_id text, rel_type text, depth bigint, position bigint)
    where r.rel_type = 'm.thread'
    order by 1, 2, 3 desc, 4 desc
    on conflict (room_id, root) do update set depth = excluded.depth, position = excluded.position
    where (excluded.depth, excluded.position) > (threads.depth, threads.position);
  end if;
end
$$;

create function room_forget_threads(p_room text, p_limit int) returns int language plpgsql as $$
declare
  gone int;
begin
  delete from threads t using (select root from threads where room_id = p_room limit p_limit) as d
  where t.room_id = p_room and t.root = d.root;
  get diagnostics gone = row_count;
  return gone;
end
$$;
