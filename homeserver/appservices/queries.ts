import type { Db } from '../database/database.ts'

/** How far a service was told, and what it has not taken yet. */
export interface StreamRow {
  readonly position: number
  /** Number of its newest transaction. */
  readonly txn: number
  readonly body: string | null
}

/** The stream of a service; one that is new begins at `position`. */
export async function openStream(db: Db, id: string, position: number): Promise<StreamRow> {
  await db`insert into appservice_streams (id, position) values (${id}, ${position})
    on conflict (id) do nothing`
  const [row] = await db<StreamRow>`
    select position, txn, body from appservice_streams where id = ${id}`
  return row ?? { position, txn: 0, body: null }
}

/**
 * Notes the next transaction, or only the position when there is none. False when another process has gone on since
 * `before`.
 */
export async function advanceStream(
  db: Db,
  id: string,
  before: StreamRow,
  next: StreamRow,
): Promise<boolean> {
  const rows = await db`
    update appservice_streams set position = ${next.position}, txn = ${next.txn}, body = ${next.body}
     where id = ${id} and txn = ${before.txn} and position <= ${next.position} returning id`
  return rows.length > 0
}

/** The service has taken the transaction. */
export async function closeTransaction(db: Db, id: string, txn: number): Promise<void> {
  await db`update appservice_streams set body = null where id = ${id} and txn = ${txn}`
}
