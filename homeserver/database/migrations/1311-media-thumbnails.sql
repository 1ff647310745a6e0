-- owner: media
-- Small pictures that were made of files; they lie on disk like these.
create table media_thumbnails (
  -- SHA-256 of the picture that it was made of: the same picture under several ids has one set.
  source text not null,
  width int not null,
  height int not null,
  method text not null,
  animated boolean not null,
  content_type text not null,
  size_bytes bigint not null,
  hash text not null,
  created_at bigint not null,
  primary key (source, width, height, method, animated)
);
