-- owner: notifications
-- Which threads users want to hear of, and of which they said that they do not.
create table thread_subscriptions (
  user_id text not null,
  room_id text not null,
  -- Id of the event that the thread begins with.
  root text not null,
  subscribed boolean not null,
  -- The user's client subscribed by itself.
  automatic boolean not null,
  -- Depth of the room when the user unsubscribed; what was said up to then subscribes nobody any more.
  depth bigint not null,
  position bigint not null,
  primary key (user_id, room_id, root)
);
create index thread_subscriptions_position on thread_subscriptions (user_id, position);
create index thread_subscriptions_thread on thread_subscriptions (room_id, root);

create function log_apply_thread_subscriptions(p_rows jsonb, p_base bigint) returns void language plpgsql as $$
begin
  insert into thread_subscriptions (user_id, room_id, root, subscribed, automatic, depth, position)
    select distinct on (r.user_id, r.room_id, r.root)
      r.user_id, r.room_id, r.root, r.subscribed, r.automatic, r.depth, p_base + r.i
    from jsonb_to_recordset(p_rows) as r(
      i int, user_id text, room_id text, root text, subscribed boolean, automatic boolean, depth bigint)
    order by r.user_id, r.room_id, r.root, r.i desc
    on conflict (user_id, room_id, root) do update set
      subscribed = excluded.subscribed, automatic = excluded.automatic, depth = excluded.depth,
      position = excluded.position;
end
$$;

create function room_forget_thread_subscriptions(p_room text, p_limit int) returns int language plpgsql as $$
declare
  gone int;
begin
  delete from thread_subscriptions s using
    (select user_id, root from thread_subscriptions where room_id = p_room limit p_limit) as d
  where s.room_id = p_room and s.user_id = d.user_id and s.root = d.root;
  get diagnostics gone = row_count;
  return gone;
end
$$;
