-- owner: notices
-- The room in which a user gets the notices of whoever runs the server.
create table notice_rooms (
  user_id text collate "C" primary key,
  room_id text not null
);
create index notice_rooms_by_room on notice_rooms (room_id);

create function room_forget_notices(p_room text, p_limit int) returns int language plpgsql as $$
declare
  gone int;
begin
  delete from notice_rooms where user_id in (select user_id from notice_rooms where room_id = p_room limit p_limit);
  get diagnostics gone = row_count;
  return gone;
end $$;
