-- owner: media
-- Files of our users, and copies of those of other servers. The bytes lie on disk under their hash.
create table media (
  origin text not null,
  media_id text not null,
  -- Who uploads; null for a copy.
  user_id text,
  content_type text,
  file_name text,
  size_bytes bigint,
  -- SHA-256 of the bytes in hexadecimal; null until they are there.
  hash text,
  created_at bigint not null,
  -- Until when the bytes may come; null once they are there.
  pending_until bigint,
  primary key (origin, media_id)
);
create index media_pending on media (user_id, pending_until) where pending_until is not null;
