-- owner: state
create function room_forget_state(p_room text, p_limit int) returns int language plpgsql as $$
declare
  gone int;
begin
  delete from current_state c using
    (select type, state_key from current_state where room_id = p_room limit p_limit) as d
  where c.room_id = p_room and c.type = d.type and c.state_key = d.state_key;
  get diagnostics gone = row_count;
  return gone;
end
$$;
