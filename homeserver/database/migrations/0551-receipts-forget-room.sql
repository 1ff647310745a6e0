-- owner: receipts
create function room_forget_receipts(p_room text, p_limit int) returns int language plpgsql as $$
declare
  gone int;
begin
  delete from receipts r using
    (select user_id, type, thread_id from receipts where room_id = p_room limit p_limit) as d
  where r.room_id = p_room and r.user_id = d.user_id and r.type = d.type and r.thread_id = d.thread_id;
  get diagnostics gone = row_count;
  return gone;
end
$$;
