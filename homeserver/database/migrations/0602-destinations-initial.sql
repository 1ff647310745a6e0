-- owner: destinations
-- Servers that do not answer: since when, and when they are tried again. A server that answers has no row.
create table destinations (
  server text primary key,
  failing_since bigint not null,
  retry_at bigint not null,
  interval_ms bigint not null
);

-- Rooms in which a destination misses events of ours: the oldest and the newest of them. Catching up costs a
-- destination's rooms and not the log.
create table destination_rooms (
  destination text not null,
  room_id text not null,
  first_position bigint not null,
  last_position bigint not null,
  primary key (destination, room_id)
);

-- EDUs that must arrive; kept until acknowledged. One with a collapse key replaces the one before it.
create table outbox (
  id bigint generated always as identity primary key,
  destination text not null,
  edu_type text not null,
  content text not null,
  collapse_key text
);
create index outbox_by_destination on outbox (destination, id);
create index outbox_by_collapse_key on outbox (destination, edu_type, collapse_key) where collapse_key is not null;

-- Up to where each process has handed our events to the queues of its destinations, or noted them in destination_rooms.
create table sender_cursors (
  process text primary key,
  position bigint not null,
  at timestamptz not null default now()
);

-- Answers to transactions of other servers, for those that did not get them.
create table inbound_transactions (
  origin text not null,
  txn_id text not null,
  answer text not null,
  at timestamptz not null default now(),
  primary key (origin, txn_id)
);
create index inbound_transactions_at on inbound_transactions using brin (at);

create function log_apply_outbox(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  delete from outbox o
   using jsonb_to_recordset(p_rows) as r(destination text, edu_type text, collapse_key text)
   where r.collapse_key is not null
     and o.destination = r.destination and o.edu_type = r.edu_type and o.collapse_key = r.collapse_key;
  insert into outbox (destination, edu_type, content, collapse_key)
  select q.destination, q.edu_type, q.content, q.collapse_key
    from (select r ->> 'destination' as destination, r ->> 'edu_type' as edu_type, r ->> 'content' as content,
                 r ->> 'collapse_key' as collapse_key, ord,
                 lead(ord) over (partition by r ->> 'destination', r ->> 'edu_type', r ->> 'collapse_key' order by ord) as later
            from jsonb_array_elements(p_rows) with ordinality as t(r, ord)) q
   where q.collapse_key is null or q.later is null
   order by q.ord;
end $$;
