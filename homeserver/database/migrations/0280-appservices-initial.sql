-- owner: appservices
-- How far each application service was told of the log, and the transaction that it has not taken yet: it is sent again
-- as it is until it is taken.
create table appservice_streams (
  id text collate "C" primary key,
  position bigint not null,
  txn bigint not null default 0,
  body text
);
