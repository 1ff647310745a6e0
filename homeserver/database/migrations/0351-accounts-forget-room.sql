-- owner: accounts
create index account_data_by_room on account_data (room_id) where room_id <> '';

create function room_forget_accounts(p_room text, p_limit int) returns int language plpgsql as $$
declare
  gone int;
begin
  delete from account_data a using
    (select user_id, type from account_data where room_id = p_room and room_id <> '' limit p_limit) as d
  where a.user_id = d.user_id and a.room_id = p_room and a.type = d.type;
  get diagnostics gone = row_count;
  return gone;
end
$$;
