import type { DeviceId, RoomId, UserId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'

export interface DelayedRow {
  readonly delay_id: string
  readonly user_id: UserId
  readonly device_id: DeviceId | null
  readonly guest: boolean
  readonly appservice: string | null
  readonly room_id: RoomId
  readonly type: string
  readonly state_key: string | null
  readonly content: string
  readonly origin_server_ts: number | null
  readonly replaces: string | null
  readonly delay_ms: number
  readonly running_since: number
  readonly send_at: number
  readonly attempts: number
}

const columns = `delay_id, user_id, device_id, guest, appservice, room_id, type, state_key, content, origin_server_ts,
  replaces, delay_ms, running_since, send_at, attempts`

export async function countDelayed(
  db: Db,
  user: UserId,
): Promise<{ count: number; soonest: number | null }> {
  const [row] = await db<{ count: number; soonest: number | null }>`
    select count(*)::int as count, min(send_at) as soonest from delayed_events where user_id = ${user}`
  return row ?? { count: 0, soonest: null }
}

export async function delayedOf(db: Db, user: UserId): Promise<readonly DelayedRow[]> {
  return await db.query<DelayedRow>(
    `select ${columns} from delayed_events where user_id = $1 order by send_at, delay_id`,
    [user],
  )
}

export async function findDelayed(db: Db, id: string): Promise<DelayedRow | undefined> {
  const [row] = await db.query<DelayedRow>(
    `select ${columns} from delayed_events where delay_id = $1`,
    [id],
  )
  return row
}

/** When the next one is to be sent, or to be tried again; undefined when there is none. */
export async function nextDue(db: Db): Promise<number | undefined> {
  const [row] = await db<{ at: number | null }>`
    select min(greatest(send_at, lease_until)) as at from delayed_events`
  return row?.at ?? undefined
}

/** Takes what is due, in order, for this process alone until `until`. */
export async function takeDue(
  db: Db,
  { now, until, limit }: { readonly now: number; readonly until: number; readonly limit: number },
): Promise<readonly DelayedRow[]> {
  const rows = await db.query<DelayedRow>(
    `update delayed_events set lease_until = $2, attempts = attempts + 1
      where delay_id in (
        select delay_id from delayed_events where send_at <= $1 and lease_until <= $1
         order by send_at limit $3 for update skip locked)
      returning ${columns}`,
    [now, until, limit],
  )
  return rows.toSorted((a, b) => a.send_at - b.send_at)
}

/** Takes one that nobody is sending. */
export async function takeOne(
  db: Db,
  id: string,
  { now, until }: { readonly now: number; readonly until: number },
): Promise<DelayedRow | undefined> {
  const [row] = await db.query<DelayedRow>(
    `update delayed_events set lease_until = $3, attempts = attempts + 1
      where delay_id = $1 and lease_until <= $2 returning ${columns}`,
    [id, now, until],
  )
  return row
}

/** Begins the delay anew; answers when it ends, undefined when there is none or it is being sent. */
export async function restartDelay(db: Db, id: string, now: number): Promise<number | undefined> {
  const [row] = await db<{ send_at: number }>`
    update delayed_events set running_since = ${now}, send_at = ${now}::bigint + delay_ms, attempts = 0
     where delay_id = ${id} and lease_until <= ${now} returning send_at`
  return row?.send_at
}

export async function cancelDelay(db: Db, id: string, now: number): Promise<boolean> {
  const rows = await db`
    delete from delayed_events where delay_id = ${id} and lease_until <= ${now} returning delay_id`
  return rows.length > 0
}

export async function removeDelayed(db: Db, ids: readonly string[]): Promise<void> {
  await db`delete from delayed_events where delay_id = any(${ids}::text[])`
}

/** Lets one that could not be sent be tried again from `at` on. */
export async function returnDelayed(db: Db, id: string, at: number): Promise<void> {
  await db`update delayed_events set lease_until = ${at} where delay_id = ${id}`
}
