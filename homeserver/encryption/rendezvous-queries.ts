import type { Db } from '../database/database.ts'

/** A place with what was left there last; `data` is Base64, times are milliseconds since the epoch. */
export interface RendezvousRow {
  readonly id: string
  readonly revision: string
  readonly data: string
  readonly content_type: string
  readonly changed_at: number
  readonly expires_at: number
}

/** Adds a place; what has expired goes, and the oldest when there are `max` already. */
export async function insertRendezvous(db: Db, row: RendezvousRow, max: number): Promise<void> {
  await db`
    with expired as (delete from rendezvous_sessions where expires_at <= ${row.changed_at}),
    crowded as (
      delete from rendezvous_sessions where id in (
        select id from rendezvous_sessions where expires_at > ${row.changed_at}
        order by expires_at desc offset ${max - 1}))
    insert into rendezvous_sessions (id, revision, data, content_type, changed_at, expires_at)
    values (${row.id}, ${row.revision}, ${row.data}, ${row.content_type}, ${row.changed_at}, ${row.expires_at})`
}

export async function findRendezvous(
  db: Db,
  id: string,
  now: number,
): Promise<RendezvousRow | undefined> {
  const [row] = await db<RendezvousRow>`
    select id, revision, data, content_type, changed_at, expires_at from rendezvous_sessions
    where id = ${id} and expires_at > ${now}`
  return row
}

/** Writes over what is there if it is still `known`; answers what is there then, or nothing was written. */
export async function replaceRendezvous(
  db: Db,
  known: { id: string; revision: string },
  next: Pick<RendezvousRow, 'revision' | 'data' | 'content_type' | 'changed_at'>,
): Promise<RendezvousRow | undefined> {
  const [row] = await db<RendezvousRow>`
    update rendezvous_sessions set revision = ${next.revision}, data = ${next.data},
      content_type = ${next.content_type}, changed_at = ${next.changed_at}
    where id = ${known.id} and revision = ${known.revision} and expires_at > ${next.changed_at}
    returning id, revision, data, content_type, changed_at, expires_at`
  return row
}

/** Was there something to delete. */
export async function deleteRendezvous(db: Db, id: string, now: number): Promise<boolean> {
  const rows = await db<{ expires_at: number }>`
    delete from rendezvous_sessions where id = ${id} returning expires_at`
  return rows.some((row) => row.expires_at > now)
}
