-- owner: media
-- What pages of the web told of themselves.
create table media_previews (
  url text primary key,
  -- Answer of the client-server API, as JSON text.
  body text not null,
  fetched_at bigint not null
);
create index media_previews_by_age on media_previews (fetched_at);
