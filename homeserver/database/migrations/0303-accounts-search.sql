-- owner: accounts
-- The beginnings of names, in lower case; a display name is stored as JSON and so begins with a quotation mark.
create index users_name on users (user_id text_pattern_ops);
create index profile_fields_name on profile_fields (left(lower(value), 200) text_pattern_ops) where field = 'displayname';
