import type { Db } from '../../database/database.ts'

/** A connection of a device. */
export interface ConnectionKey {
  readonly user: string
  /** Empty for a token without a device. */
  readonly device: string
  readonly connId: string
}

/** What the position stands for, and whether it was last used long ago. */
export async function findPosition(
  db: Db,
  { user, device, connId }: ConnectionKey,
  nr: number,
  touchAfterMs: number,
): Promise<{ state: string; is_stale: boolean } | undefined> {
  const rows = await db<{ state: string; is_stale: boolean }>`
    select state, used_at < now() - ${touchAfterMs} * interval '1 millisecond' as is_stale
    from sliding_positions
    where nr = ${nr} and user_id = ${user} and device_id = ${device} and conn_id = ${connId}`
  return rows[0]
}

/** Says that a connection is in use. */
export async function touchPosition(db: Db, nr: number): Promise<void> {
  await db`update sliding_positions set used_at = now() where nr = ${nr}`
}

/**
 * Stores what a connection has been sent and answers the row's number. Positions before `confirmed` go, and of those
 * since all but the newest `unconfirmedMax`.
 */
export async function insertPosition(
  db: Db,
  { user, device, connId }: ConnectionKey,
  state: string,
  { confirmed, unconfirmedMax }: { confirmed: number; unconfirmedMax: number },
): Promise<number> {
  const rows = await db<{ nr: number }>`
    with old as (
      delete from sliding_positions
      where user_id = ${user} and device_id = ${device} and conn_id = ${connId}
        and (nr < ${confirmed} or nr in (
          select p.nr from sliding_positions p
          where p.user_id = ${user} and p.device_id = ${device} and p.conn_id = ${connId}
            and p.nr > ${confirmed}
          order by p.nr desc offset ${unconfirmedMax}))
    )
    insert into sliding_positions (user_id, device_id, conn_id, state)
    values (${user}, ${device}, ${connId}, ${state}) returning nr`
  return rows[0]?.nr ?? 0
}

/** Forgets a device's connections beyond the newest `keep`, not counting the named one. */
export async function deleteOtherConnections(
  db: Db,
  { user, device, connId }: ConnectionKey,
  keep: number,
): Promise<void> {
  await db`
    delete from sliding_positions
    where user_id = ${user} and device_id = ${device} and conn_id in (
      select conn_id from sliding_positions
      where user_id = ${user} and device_id = ${device} and conn_id <> ${connId}
      group by conn_id order by max(nr) desc offset ${keep})`
}

/** Forgets connections that nobody has used for a time, at most `limit` rows of them. */
export async function deleteUnused(db: Db, ageMs: number, limit: number): Promise<void> {
  await db`
    delete from sliding_positions where nr in (
      select nr from sliding_positions
      where used_at < now() - ${ageMs} * interval '1 millisecond' order by used_at limit ${limit})`
}
