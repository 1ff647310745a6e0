import type { UserId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'
import type { RemoteListRow } from './queries.ts'

export interface DueList extends RemoteListRow {
  readonly failures: number
}

/** Takes lists that are due, so that no other process asks for them before `until`. */
export async function takeDueLists(
  db: Db,
  due: { now: number; until: number; limit: number },
): Promise<DueList[]> {
  return await db<DueList>`
    update remote_device_lists l set due_at = ${due.until}, failures = l.failures + 1
    where l.user_id in (
      select user_id from remote_device_lists where due_at <= ${due.now}
      order by due_at limit ${due.limit} for update skip locked)
    returning l.user_id, l.version, l.fresh, l.kept_at, l.stream_id, l.failures`
}

/** Asks for these lists at that time, or before when they are due then already. */
export async function scheduleLists(db: Db, users: readonly UserId[], at: number): Promise<void> {
  await db`
    update remote_device_lists set due_at = least(due_at, ${at}) where user_id = any(${users}::text[])`
}

/** Asks for these lists at that time and not before. */
export async function postponeList(db: Db, user: UserId, at: number): Promise<void> {
  await db`update remote_device_lists set due_at = ${at} where user_id = ${user}`
}

/** Forgets what is known of a user with whom nobody here shares a room, unless something came in since. */
export async function forgetList(db: Db, user: UserId, version: number): Promise<void> {
  await db`
    with gone as (
      delete from remote_device_lists where user_id = ${user} and version = ${version} returning user_id),
    devices as (delete from remote_devices d using gone g where d.user_id = g.user_id)
    delete from cross_signing_keys c using gone g where c.user_id = g.user_id`
}
