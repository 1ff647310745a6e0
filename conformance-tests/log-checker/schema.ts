import type { Db } from '../../homeserver/database/database.ts'

/** The checker's own table beside the log, filled by an apply function as a slice's tables are. */
export async function createCheckTables(db: Db): Promise<void> {
  // No unique index: a request that was written twice must show.
  await db.query(
    `create table check_rows (
      position bigint not null, request int not null, room int not null, previous int not null, process text not null)`,
    [],
  )
  await db.query(
    'create table check_free (position bigint not null, process text not null, number int not null)',
    [],
  )
  await db.query(
    `create function log_apply_check_free(rows jsonb, base bigint) returns void language plpgsql as $$ begin
       insert into check_free
       select base + r.i, r.process, r.number
         from jsonb_to_recordset(rows) as r(i int, process text, number int);
     end $$`,
    [],
  )
  await db.query('create index check_rows_room on check_rows (room, position)', [])
  await db.query(
    `create function log_apply_check(rows jsonb, base bigint) returns void language plpgsql as $$ begin
       insert into check_rows
       select base + r.i, r.request, r.room, r.previous, r.process
         from jsonb_to_recordset(rows) as r(i int, request int, room int, previous int, process text);
     end $$`,
    [],
  )
}

/** The request that was written last in a room; -1 in an empty one. */
export async function lastRequest(db: Db, room: number): Promise<number> {
  const rows = await db.query<{ request: number }>(
    'select request from check_rows where room = $1 order by position desc limit 1',
    [room],
  )
  return rows[0]?.request ?? -1
}
