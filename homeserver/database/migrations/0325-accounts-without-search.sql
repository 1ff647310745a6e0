-- owner: accounts
-- Nobody looks users up by the beginnings of their names any more.
drop index users_name;
drop index profile_fields_name;
