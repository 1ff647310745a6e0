-- owner: encryption
-- Log position at which a remote user's list was asked for: only who shared a room all the time since then was told
-- of changes.
alter table remote_device_lists add column kept_at bigint not null default 0;
