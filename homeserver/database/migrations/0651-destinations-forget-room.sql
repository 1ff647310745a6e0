-- owner: destinations
create index destination_rooms_by_room on destination_rooms (room_id);

create function room_forget_destinations(p_room text, p_limit int) returns int language plpgsql as $$
declare
  gone int;
begin
  delete from destination_rooms r using
    (select destination from destination_rooms where room_id = p_room limit p_limit) as d
  where r.room_id = p_room and r.destination = d.destination;
  get diagnostics gone = row_count;
  return gone;
end
$$;
