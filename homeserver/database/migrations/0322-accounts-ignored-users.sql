-- owner: accounts
-- Who ignores somebody: read once by each process.
create index account_data_ignored on account_data (user_id) where type = 'm.ignored_user_list' and room_id = '';
