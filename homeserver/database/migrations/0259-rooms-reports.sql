-- owner: rooms
-- What users of this server find inappropriate, until an administrator deletes it.
create table reports (
  id bigint generated always as identity primary key,
  kind text not null,
  received_at bigint not null,
  -- Who reports.
  user_id text not null,
  room_id text,
  event_id text,
  -- The sender of the event, or the user that is reported.
  target text,
  reason text,
  score int
);
create index reports_by_kind on reports (kind, received_at, id);
create index reports_by_user on reports (user_id);
create index reports_by_room on reports (room_id) where room_id is not null;

create or replace function room_forget_rooms(p_room text, p_limit int) returns int language plpgsql as $$
declare
  gone int;
begin
  delete from memberships m using
    (select user_id from memberships where room_id = p_room limit p_limit) as d
  where m.room_id = p_room and m.user_id = d.user_id;
  get diagnostics gone = row_count;
  delete from stripped_states where room_id = p_room;
  delete from room_aliases where room_id = p_room;
  delete from published_rooms where room_id = p_room;
  delete from reports where room_id = p_room;
  return gone;
end
$$;
