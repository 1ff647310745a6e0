-- owner: events
-- Events by when they were sent. Events are stored nearly in this order, so that a summary of each range of blocks
-- is enough, and an insert costs nothing.
create index events_by_time on events using brin (origin_server_ts) with (pages_per_range = 32, autosummarize = on);
