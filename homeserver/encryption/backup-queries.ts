import type { UserId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'

export interface BackupRow {
  readonly version: number
  readonly algorithm: string
  readonly auth_data: string
  readonly etag: number
  readonly count: number
}

/** A backup that is not deleted: that of the version, or the newest. */
export async function findBackup(
  db: Db,
  user: UserId,
  version: number | undefined,
): Promise<BackupRow | undefined> {
  const [row] = await db<BackupRow>`
    select b.version, b.algorithm, b.auth_data, b.etag, (
      select count(*) from key_backup_sessions s where s.user_id = b.user_id and s.version = b.version) as count
    from key_backups b
    where b.user_id = ${user} and not b.deleted and (${version ?? null}::bigint is null or b.version = ${version ?? null})
    order by b.version desc limit 1`
  return row
}

/** Versions count up, also past deleted ones. */
export async function insertBackup(
  db: Db,
  user: UserId,
  algorithm: string,
  authData: string,
): Promise<number> {
  const [row] = await db<{ version: number }>`
    insert into key_backups (user_id, version, algorithm, auth_data)
    select ${user}::text, coalesce(max(version), 0) + 1, ${algorithm}::text, ${authData}::text
    from key_backups where user_id = ${user}
    returning version`
  return row?.version ?? 0
}

export async function setAuthData(
  db: Db,
  user: UserId,
  version: number,
  authData: string,
): Promise<void> {
  await db`
    update key_backups set auth_data = ${authData} where user_id = ${user} and version = ${version}`
}

export async function deleteBackup(db: Db, user: UserId, version: number): Promise<void> {
  await db`
    with gone as (
      update key_backups set deleted = true where user_id = ${user} and version = ${version} returning user_id, version)
    delete from key_backup_sessions s using gone g where s.user_id = g.user_id and s.version = g.version`
}

export interface SessionRow {
  readonly room_id: string
  readonly session_id: string
  readonly first_message_index: number
  readonly forwarded_count: number
  readonly is_verified: boolean
  readonly session_data: string
}

/**
 * Stores sessions where there is none or a worse one. Better is: verified, then the lower first message index, then
 * fewer forwards. Undefined when the backup is gone.
 */
export async function putSessions(
  db: Db,
  user: UserId,
  version: number,
  sessions: readonly SessionRow[],
): Promise<{ count: number; etag: number } | undefined> {
  const [row] = await db<{ count: number; etag: number }>`
    with backup as (
      select user_id, version from key_backups
      where user_id = ${user} and version = ${version} and not deleted for update),
    given as (
      select * from unnest(
        ${sessions.map((s) => s.room_id)}::text[], ${sessions.map((s) => s.session_id)}::text[],
        ${sessions.map((s) => s.first_message_index)}::bigint[], ${sessions.map((s) => s.forwarded_count)}::bigint[],
        ${sessions.map((s) => s.is_verified)}::bool[], ${sessions.map((s) => s.session_data)}::text[]
      ) as g(room_id, session_id, first_message_index, forwarded_count, is_verified, session_data)),
    stored as (
      insert into key_backup_sessions as s (user_id, version, room_id, session_id, first_message_index,
        forwarded_count, is_verified, session_data)
      select b.user_id, b.version, g.room_id, g.session_id, g.first_message_index, g.forwarded_count, g.is_verified,
        g.session_data
      from backup b cross join given g
      on conflict (user_id, version, room_id, session_id) do update set
        first_message_index = excluded.first_message_index, forwarded_count = excluded.forwarded_count,
        is_verified = excluded.is_verified, session_data = excluded.session_data
      where (excluded.is_verified, -excluded.first_message_index, -excluded.forwarded_count)
        > (s.is_verified, -s.first_message_index, -s.forwarded_count)
      returning (xmax = 0) as added),
    changed as (select count(*) as n, count(*) filter (where added) as added from stored),
    counted as (
      update key_backups k set etag = k.etag + (case when c.n > 0 then 1 else 0 end)
      from changed c, backup b where k.user_id = b.user_id and k.version = b.version returning k.etag)
    select counted.etag, changed.added + (
      select count(*) from key_backup_sessions where user_id = ${user} and version = ${version}) as count
    from counted, changed`
  return row
}

export async function sessionsOf(
  db: Db,
  user: UserId,
  version: number,
  part: { room?: string; session?: string },
): Promise<SessionRow[]> {
  return await db<SessionRow>`
    select room_id, session_id, first_message_index, forwarded_count, is_verified, session_data
    from key_backup_sessions where user_id = ${user} and version = ${version}
      and (${part.room ?? null}::text is null or room_id = ${part.room ?? null})
      and (${part.session ?? null}::text is null or session_id = ${part.session ?? null})
    order by room_id, session_id`
}

export async function deleteSessions(
  db: Db,
  user: UserId,
  version: number,
  part: { room?: string; session?: string },
): Promise<{ count: number; etag: number } | undefined> {
  const [row] = await db<{ count: number; etag: number }>`
    with backup as (
      select user_id, version from key_backups
      where user_id = ${user} and version = ${version} and not deleted for update),
    gone as (
      delete from key_backup_sessions s using backup b
      where s.user_id = b.user_id and s.version = b.version
        and (${part.room ?? null}::text is null or s.room_id = ${part.room ?? null})
        and (${part.session ?? null}::text is null or s.session_id = ${part.session ?? null})
      returning 1),
    changed as (select count(*) as n from gone),
    counted as (
      update key_backups k set etag = k.etag + (case when c.n > 0 then 1 else 0 end)
      from changed c, backup b where k.user_id = b.user_id and k.version = b.version returning k.etag)
    select counted.etag, (
      select count(*) from key_backup_sessions where user_id = ${user} and version = ${version}) - changed.n as count
    from counted, changed`
  return row
}
