-- owner: rooms
-- Rooms of third-party networks, as the application services that bridge them list them.
create table network_rooms (
  -- Id of the application service.
  service text not null,
  network text not null,
  room_id text not null,
  primary key (service, network, room_id)
);
create index network_rooms_by_room on network_rooms (room_id);

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
  delete from network_rooms where room_id = p_room;
  delete from reports where room_id = p_room;
  return gone;
end
$$;
