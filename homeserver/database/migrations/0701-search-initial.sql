-- owner: search
-- Words of messages, names and topics, a row for each event that has some. The room's id is among the words.
create table search_texts (
  nr bigint primary key,
  event_id text not null,
  room_id text not null,
  sender text not null,
  -- body, name or topic
  key text not null,
  ts bigint not null,
  words tsvector not null
);
create unique index search_texts_by_event on search_texts (event_id);
create index search_texts_by_room on search_texts (room_id, ts desc, nr desc);
create index search_texts_by_word on search_texts using gin (words);

-- Events that came without a row of the log, by their numbers, until they have been read.
create table search_backfilled (nr bigint primary key);

-- How far the log has been read.
create table search_progress (
  one boolean primary key default true check (one),
  position bigint not null
);
insert into search_progress (position) values (0);

-- Names under which users are found: that of the profile of a local user, those in rooms of a remote one.
create table search_names (
  user_id text not null,
  name text not null,
  words tsvector not null,
  primary key (user_id, name)
);
create index search_names_by_word on search_names using gin (words);

create function log_apply_search_backfilled(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  insert into search_backfilled (nr) select nr from jsonb_to_recordset(p_rows) as r(nr bigint) on conflict do nothing;
end
$$;

create function search_put(p_rows jsonb) returns void language plpgsql as $$
begin
  insert into search_texts (nr, event_id, room_id, sender, key, ts, words)
  select nr, event_id, room_id, sender, key, ts,
         to_tsvector('simple', body) || to_tsvector('english', body) || array_to_tsvector(array[room_id])
  from jsonb_to_recordset(p_rows) as r(nr bigint, event_id text, room_id text, sender text, key text, ts bigint, body text)
  on conflict do nothing;
end
$$;

-- Goes on from one position to another; does nothing and answers false when somebody else has gone on before.
create function search_advance(p_from bigint, p_to bigint, p_rows jsonb, p_gone text[]) returns boolean language plpgsql as $$
begin
  update search_progress set position = p_to where position = p_from;
  if not found then
    return false;
  end if;
  perform search_put(p_rows);
  delete from search_texts where event_id = any(p_gone);
  return true;
end
$$;

-- As it is written, and by the stems of its words.
create function search_query(p_term text) returns tsquery language sql immutable as $$
  select websearch_to_tsquery('simple', p_term) || websearch_to_tsquery('english', p_term)
$$;

create function room_forget_search(p_room text, p_limit int) returns int language plpgsql as $$
declare
  gone int;
begin
  delete from search_texts t using (select nr from search_texts where room_id = p_room limit p_limit) as d where t.nr = d.nr;
  get diagnostics gone = row_count;
  return gone;
end
$$;
