-- owner: rooms
-- A row without a membership ends one that resolution took out of the room's state: no event says so.
create or replace function log_apply_memberships(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  insert into memberships (room_id, user_id, membership, event_id, event_nr, sender, since, position, display_name, avatar_url, forgotten)
  select room_id, user_id, membership, event_id, event_nr, sender, p_base + i, p_base + i, display_name, avatar_url, false
  from (select distinct on (r ->> 'room_id', r ->> 'user_id')
          r ->> 'room_id' as room_id, r ->> 'user_id' as user_id, r ->> 'membership' as membership,
          r ->> 'event_id' as event_id, (r ->> 'event_nr')::bigint as event_nr, r ->> 'sender' as sender,
          r ->> 'display_name' as display_name, r ->> 'avatar_url' as avatar_url, (r ->> 'i')::bigint as i
        from jsonb_array_elements(p_rows) with ordinality as t(r, ord)
        order by r ->> 'room_id', r ->> 'user_id', ord desc) as last
  where membership is not null
  on conflict (room_id, user_id) do update set
    membership = excluded.membership, event_id = excluded.event_id, event_nr = excluded.event_nr, sender = excluded.sender,
    since = case when memberships.membership = excluded.membership then memberships.since else excluded.position end,
    position = excluded.position, display_name = excluded.display_name, avatar_url = excluded.avatar_url, forgotten = false;
  if p_rows @? '$[*] ? (!exists(@.membership))' then
    update memberships m set
      membership = 'leave', position = p_base + last.i,
      since = case when m.membership = 'leave' then m.since else p_base + last.i end
    from (select distinct on (r ->> 'room_id', r ->> 'user_id')
            r ->> 'room_id' as room_id, r ->> 'user_id' as user_id, r ->> 'membership' as membership, (r ->> 'i')::bigint as i
          from jsonb_array_elements(p_rows) with ordinality as t(r, ord)
          order by r ->> 'room_id', r ->> 'user_id', ord desc) as last
    where last.membership is null and m.room_id = last.room_id and m.user_id = last.user_id;
  end if;
end
$$;
