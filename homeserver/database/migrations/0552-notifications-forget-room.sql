-- owner: notifications
create function room_forget_notifications(p_room text, p_limit int) returns int language plpgsql as $$
declare
  gone int;
begin
  delete from unread u using
    (select user_id, thread_id from unread where room_id = p_room limit p_limit) as d
  where u.room_id = p_room and u.user_id = d.user_id and u.thread_id = d.thread_id;
  get diagnostics gone = row_count;
  delete from unread_rooms where room_id = p_room;
  return gone;
end
$$;
