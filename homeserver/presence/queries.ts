import type { UserId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'

export interface PresenceRow {
  readonly user_id: UserId
  readonly status_msg: string | null
  readonly last_active_ts: number
}

export async function findPresence(db: Db, user: UserId): Promise<PresenceRow | undefined> {
  const [row] = await db<PresenceRow>`
    select user_id, status_msg, last_active_ts from presence where user_id = ${user}`
  return row
}

export async function findPresences(db: Db, users: readonly UserId[]): Promise<PresenceRow[]> {
  return await db<PresenceRow>`
    select user_id, status_msg, last_active_ts from presence where user_id = any(${users}::text[])`
}

export async function upsertPresence(db: Db, rows: readonly PresenceRow[]): Promise<void> {
  await db`
    insert into presence (user_id, status_msg, last_active_ts)
    select user_id, status_msg, last_active_ts from unnest(
      ${rows.map((r) => r.user_id)}::text[], ${rows.map((r) => r.status_msg)}::text[],
      ${rows.map((r) => r.last_active_ts)}::bigint[]) as p(user_id, status_msg, last_active_ts)
    on conflict (user_id) do update
      set status_msg = excluded.status_msg, last_active_ts = excluded.last_active_ts`
}
