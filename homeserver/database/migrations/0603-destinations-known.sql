-- owner: destinations
-- Every server that something was ever sent to has a row now; failing_since, retry_at and interval_ms are 0 while it
-- answers. `changed_at` lets the processes learn from each other which servers do not.
alter table destinations add column changed_at timestamptz not null default now();
create index destinations_changed_at on destinations (changed_at);
