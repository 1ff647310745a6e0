import type { DeviceId, UserId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'

export interface PusherRow {
  readonly user_id: UserId
  readonly app_id: string
  readonly pushkey: string
  readonly device_id: DeviceId | null
  readonly kind: string
  readonly app_display_name: string
  readonly device_display_name: string
  readonly profile_tag: string | null
  readonly lang: string
  readonly data: string
  readonly updated_at: number
  readonly enabled: boolean
}

/** What names a pusher. */
export interface PusherKey {
  readonly user_id: UserId
  readonly app_id: string
  readonly pushkey: string
}

/** A pusher whose gateway did not take everything. */
export interface BehindRow extends PusherKey {
  readonly behind_from: number
  readonly failing_since: number
  readonly failures: number
  readonly next_try_at: number
}

export async function pushersOf(db: Db, user: UserId): Promise<PusherRow[]> {
  return await db<PusherRow>`
    select user_id, app_id, pushkey, device_id, kind, app_display_name, device_display_name, profile_tag, lang, data,
      coalesce(updated_at, created_at) as updated_at, enabled
    from pushers where user_id = ${user} order by created_at, app_id, pushkey`
}

/** Whose pusher of this app and key it is. */
export async function ownersOf(db: Db, appId: string, pushkey: string): Promise<UserId[]> {
  const rows = await db<{ user_id: UserId }>`
    select user_id from pushers where app_id = ${appId} and pushkey = ${pushkey}`
  return rows.map((row) => row.user_id)
}

export async function usersWithPushers(db: Db): Promise<UserId[]> {
  const rows = await db<{ user_id: UserId }>`select distinct user_id from pushers`
  return rows.map((row) => row.user_id)
}

export async function behindPushers(db: Db, limit: number): Promise<BehindRow[]> {
  return await db<BehindRow>`
    select user_id, app_id, pushkey, behind_from, failing_since, failures, next_try_at
    from pushers where behind_from is not null order by next_try_at limit ${limit}`
}

export async function markBehind(db: Db, row: BehindRow): Promise<void> {
  await db`
    update pushers set behind_from = ${row.behind_from}, failing_since = ${row.failing_since},
      failures = ${row.failures}, next_try_at = ${row.next_try_at}
    where user_id = ${row.user_id} and app_id = ${row.app_id} and pushkey = ${row.pushkey}`
}

export async function markCaughtUp(db: Db, { user_id, app_id, pushkey }: PusherKey): Promise<void> {
  await db`
    update pushers set behind_from = null, failing_since = null, failures = 0, next_try_at = null
    where user_id = ${user_id} and app_id = ${app_id} and pushkey = ${pushkey}`
}

export interface ProgressRow {
  readonly process_id: string
  readonly position: number
}

export async function storeProgress(db: Db, process: string, position: number): Promise<void> {
  await db`
    insert into push_progress (process_id, position) values (${process}, ${position})
    on conflict (process_id) do update set position = excluded.position, stored_at = now()`
}

export async function pushProgress(db: Db): Promise<ProgressRow[]> {
  return await db<ProgressRow>`select process_id, position from push_progress`
}

export async function dropProgress(db: Db, processes: readonly string[]): Promise<void> {
  await db`delete from push_progress where process_id = any(${processes}::text[])`
}
