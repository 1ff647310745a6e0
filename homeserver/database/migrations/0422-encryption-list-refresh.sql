-- owner: encryption
-- When a remote user's list is asked for again, in milliseconds since the epoch: some time after it was kept, since an
-- update may be lost without a later one that tells of it; soon when somebody wanted it and its server did not answer.
alter table remote_device_lists add column due_at bigint;
-- How often it was asked for in vain.
alter table remote_device_lists add column failures int not null default 0;
create index remote_device_lists_due on remote_device_lists (due_at) where due_at is not null;
update remote_device_lists set due_at = 0 where fresh;
