-- owner: state
-- Immutable nodes of state snapshots; see homeserver/state/trie.ts for the text of `slots`.
create table state_nodes (
  id bigint primary key,
  slots text not null
);

create table current_state (
  room_id text not null,
  type text not null,
  state_key text not null,
  event_nr bigint not null,
  position bigint not null,
  primary key (room_id, type, state_key)
);

create function log_apply_state_nodes(p_rows jsonb, p_base bigint) returns void language sql as $$
  insert into state_nodes (id, slots)
  select id, slots from jsonb_to_recordset(p_rows) as r(id bigint, slots text)
  on conflict do nothing
$$;

-- Within a batch only the last row of a key counts; a row without an event removes the key.
create function log_apply_current_state(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  insert into current_state (room_id, type, state_key, event_nr, position)
  select room_id, type, state_key, event_nr, p_base + i
  from (select distinct on (r ->> 'room_id', r ->> 'type', r ->> 'state_key')
          r ->> 'room_id' as room_id, r ->> 'type' as type, r ->> 'state_key' as state_key,
          (r ->> 'event_nr')::bigint as event_nr, (r ->> 'i')::bigint as i
        from jsonb_array_elements(p_rows) with ordinality as t(r, ord)
        order by r ->> 'room_id', r ->> 'type', r ->> 'state_key', ord desc) as last
  where event_nr is not null
  on conflict (room_id, type, state_key) do update set event_nr = excluded.event_nr, position = excluded.position;
  if p_rows @? '$[*] ? (!exists(@.event_nr))' then
    delete from current_state c using
      (select distinct on (r ->> 'room_id', r ->> 'type', r ->> 'state_key')
         r ->> 'room_id' as room_id, r ->> 'type' as type, r ->> 'state_key' as state_key, r ->> 'event_nr' as event_nr
       from jsonb_array_elements(p_rows) with ordinality as t(r, ord)
       order by r ->> 'room_id', r ->> 'type', r ->> 'state_key', ord desc) as last
    where last.event_nr is null and c.room_id = last.room_id and c.type = last.type and c.state_key = last.state_key;
  end if;
end
$$;
