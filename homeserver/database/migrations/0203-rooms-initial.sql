-- owner: rooms
create table memberships (
  room_id text not null,
  user_id text not null,
  membership text not null,
  event_id text not null,
  event_nr bigint not null,
  sender text not null,
  -- Position at which this membership began; `position` also moves with the profile.
  since bigint not null,
  position bigint not null,
  display_name text,
  avatar_url text,
  forgotten boolean not null default false,
  primary key (room_id, user_id)
);
create index memberships_by_user on memberships (user_id);

-- What an invited or knocking user may see of a room that this server is not in: an array of stripped events.
create table stripped_states (
  room_id text not null,
  user_id text not null,
  state text not null,
  primary key (room_id, user_id)
);

-- An alias that is reserved for a room being made has an empty room id.
create table room_aliases (
  alias text primary key,
  room_id text not null,
  creator text not null,
  servers text[] not null
);
create index room_aliases_by_room on room_aliases (room_id);

create table published_rooms (room_id text primary key);

create function log_apply_memberships(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  insert into memberships (room_id, user_id, membership, event_id, event_nr, sender, since, position, display_name, avatar_url, forgotten)
  select room_id, user_id, membership, event_id, event_nr, sender, p_base + i, p_base + i, display_name, avatar_url, false
  from (select distinct on (r ->> 'room_id', r ->> 'user_id')
          r ->> 'room_id' as room_id, r ->> 'user_id' as user_id, r ->> 'membership' as membership,
          r ->> 'event_id' as event_id, (r ->> 'event_nr')::bigint as event_nr, r ->> 'sender' as sender,
          r ->> 'display_name' as display_name, r ->> 'avatar_url' as avatar_url, (r ->> 'i')::bigint as i
        from jsonb_array_elements(p_rows) with ordinality as t(r, ord)
        order by r ->> 'room_id', r ->> 'user_id', ord desc) as last
  on conflict (room_id, user_id) do update set
    membership = excluded.membership, event_id = excluded.event_id, event_nr = excluded.event_nr, sender = excluded.sender,
    since = case when memberships.membership = excluded.membership then memberships.since else excluded.position end,
    position = excluded.position, display_name = excluded.display_name, avatar_url = excluded.avatar_url, forgotten = false;
end
$$;

create function log_apply_forgotten(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  update memberships m set forgotten = true
  from jsonb_to_recordset(p_rows) as r(room_id text, user_id text)
  where m.room_id = r.room_id and m.user_id = r.user_id and m.membership in ('leave', 'ban');
end
$$;

create function log_apply_stripped_states(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  insert into stripped_states (room_id, user_id, state)
  select room_id, user_id, state from jsonb_to_recordset(p_rows) as r(room_id text, user_id text, state text)
  on conflict (room_id, user_id) do update set state = excluded.state;
end
$$;
