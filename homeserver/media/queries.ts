import type { ServerName, UserId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'
import type { ThumbnailWish } from './thumbnail-size.ts'

/** What is known of the bytes, once they are there. */
export interface MediaContent {
  readonly contentType: string
  readonly fileName: string | undefined
  readonly sizeBytes: number
  readonly hash: string
}

export interface MediaRow {
  readonly user_id: UserId | null
  readonly content_type: string | null
  readonly file_name: string | null
  readonly size_bytes: number | null
  readonly hash: string | null
  readonly pending_until: number | null
}

interface Place {
  readonly origin: ServerName
  readonly mediaId: string
}

export async function findMedia(db: Db, { origin, mediaId }: Place): Promise<MediaRow | undefined> {
  const [row] = await db<MediaRow>`
    select user_id, content_type, file_name, size_bytes, hash, pending_until
    from media where origin = ${origin} and media_id = ${mediaId}`
  return row
}

/** A file of ours keeps what it has; a copy that was fetched again is replaced. */
export async function insertMedia(
  db: Db,
  place: Place,
  user: UserId | undefined,
  content: MediaContent,
  now: number,
): Promise<void> {
  const { contentType, fileName, sizeBytes, hash } = content
  await db`
    insert into media
      (origin, media_id, user_id, content_type, file_name, size_bytes, hash, created_at)
    values (${place.origin}, ${place.mediaId}, ${user ?? null}, ${contentType}, ${fileName ?? null},
      ${sizeBytes}, ${hash}, ${now})
    on conflict (origin, media_id) do update
      set hash = excluded.hash, size_bytes = excluded.size_bytes
      where media.user_id is null`
}

/** False when the user has `max` ids already that wait for their bytes. Ids that waited too long are forgotten. */
export async function insertPending(
  db: Db,
  place: Place,
  pending: { user: UserId; now: number; until: number; max: number },
): Promise<boolean> {
  const { user, now, until, max } = pending
  const rows = await db`
    with expired as (delete from media where user_id = ${user} and pending_until <= ${now})
    insert into media (origin, media_id, user_id, created_at, pending_until)
    select ${place.origin}::text, ${place.mediaId}::text, ${user}::text, ${now}::bigint, ${until}::bigint
    where (select count(*) from media where user_id = ${user} and pending_until > ${now}) < ${max}
    returning 1 as made`
  return rows.length > 0
}

/** Gives an id its bytes; false when it has them, or never waited for them. */
export async function fillPending(
  db: Db,
  { origin, mediaId }: Place,
  content: MediaContent,
): Promise<boolean> {
  const { contentType, fileName, sizeBytes, hash } = content
  const rows = await db`
    update media set content_type = ${contentType}, file_name = ${fileName ?? null},
      size_bytes = ${sizeBytes}, hash = ${hash}, pending_until = null
    where origin = ${origin} and media_id = ${mediaId} and hash is null
    returning 1 as filled`
  return rows.length > 0
}

/** A small picture that was made of the file with this hash. */
export async function findThumbnail(
  db: Db,
  source: string,
  { width, height, method, animated }: ThumbnailWish,
): Promise<MediaContent | undefined> {
  const [row] = await db<{ content_type: string; size_bytes: number; hash: string }>`
    select content_type, size_bytes, hash from media_thumbnails
    where source = ${source} and width = ${width} and height = ${height} and method = ${method}
      and animated = ${animated}`
  if (row === undefined) return undefined
  const { content_type: contentType, size_bytes: sizeBytes, hash } = row
  return { contentType, fileName: undefined, sizeBytes, hash }
}

/** One that was made again, after the disk had lost it, takes the place of the old. */
export async function insertThumbnail(
  db: Db,
  source: string,
  { width, height, method, animated }: ThumbnailWish,
  { contentType, sizeBytes, hash }: MediaContent,
  now: number,
): Promise<void> {
  await db`
    insert into media_thumbnails
      (source, width, height, method, animated, content_type, size_bytes, hash, created_at)
    values (${source}, ${width}, ${height}, ${method}, ${animated}, ${contentType}, ${sizeBytes},
      ${hash}, ${now})
    on conflict (source, width, height, method, animated) do update
      set content_type = excluded.content_type, size_bytes = excluded.size_bytes,
        hash = excluded.hash`
}

/** What a page told, if it was asked after `since`. */
export async function findPreview(db: Db, url: string, since: number): Promise<string | undefined> {
  const [row] = await db<{ body: string }>`
    select body from media_previews where url = ${url} and fetched_at > ${since}`
  return row?.body
}

/** Also forgets some that are older than `keptMs`. */
export async function insertPreview(
  db: Db,
  { url, body, now, keptMs }: { url: string; body: string; now: number; keptMs: number },
): Promise<void> {
  await db`
    with old as (
      delete from media_previews where url in (
        select url from media_previews where fetched_at < ${now - keptMs} and url <> ${url} limit 100))
    insert into media_previews (url, body, fetched_at) values (${url}, ${body}, ${now})
    on conflict (url) do update set body = excluded.body, fetched_at = excluded.fetched_at`
}
