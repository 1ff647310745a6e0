-- owner: events
-- Where the timeline of a room begins anew, because what came right before it is not here.
create table timeline_gaps (
  room_id text not null,
  position bigint not null,
  primary key (room_id, position)
);

-- A row without `i` names its position.
create function log_apply_timeline_gaps(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  insert into timeline_gaps (room_id, position)
  select room_id, coalesce(p_base + i, position)
  from jsonb_to_recordset(p_rows) as r(i bigint, room_id text, position bigint)
  on conflict do nothing;
end
$$;
