import type { ServerName } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'

export interface RemoteKeyRow {
  readonly key_id: string
  readonly public_key: string
  readonly valid_until: number
  readonly expired_at: number | null
}

/** All keys that are known of a server. */
export async function remoteKeys(db: Db, server: ServerName): Promise<RemoteKeyRow[]> {
  return await db<RemoteKeyRow>`
    select key_id, public_key, valid_until, expired_at from remote_keys where server = ${server}`
}

/** Adds keys or renews what is known of them; `keys` is a JSON array of RemoteKeyRow. */
export async function upsertRemoteKeys(db: Db, server: ServerName, keys: string): Promise<void> {
  await db`
    insert into remote_keys (server, key_id, public_key, valid_until, expired_at)
    select ${server}, key_id, public_key, valid_until, expired_at
    from jsonb_to_recordset(${keys}::text::jsonb)
      as r(key_id text, public_key text, valid_until bigint, expired_at bigint)
    on conflict (server, key_id) do update set
      public_key = excluded.public_key, valid_until = excluded.valid_until, expired_at = excluded.expired_at`
}

/** Keeps what a server published last. */
export async function upsertRemoteKeyAnswer(
  db: Db,
  server: ServerName,
  validUntil: number,
  json: string,
): Promise<void> {
  await db`
    insert into remote_key_answers (server, valid_until, json) values (${server}, ${validUntil}, ${json})
    on conflict (server) do update set valid_until = excluded.valid_until, json = excluded.json`
}

/** What servers published last; those that were never heard are missing. */
export async function remoteKeyAnswers(
  db: Db,
  servers: readonly ServerName[],
): Promise<{ server: ServerName; valid_until: number; json: string }[]> {
  return await db`
    select server, valid_until, json from remote_key_answers where server = any(${servers}::text[])`
}
