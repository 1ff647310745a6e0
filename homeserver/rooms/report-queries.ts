import type { EventId, RoomId, UserId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'

/** What a report is about. */
export type ReportKind = 'event' | 'room' | 'user'

/** A row of `reports`. */
export interface ReportRow {
  readonly id: number
  readonly kind: ReportKind
  readonly received_at: number
  readonly user_id: UserId
  readonly room_id: RoomId | null
  readonly event_id: EventId | null
  readonly target: UserId | null
  readonly reason: string | null
  readonly score: number | null
}

/** Which reports are listed: of one kind, and those whose ids contain what is given. */
export interface ReportFilter {
  readonly kind: ReportKind
  readonly user?: string
  readonly room?: string
  /** The whole id of whom it is about. */
  readonly target?: string
}

/** False when the user has reported `max` things already. */
export async function insertReport(
  db: Db,
  row: Omit<ReportRow, 'id'>,
  max: number,
): Promise<boolean> {
  const rows = await db`
    insert into reports (kind, received_at, user_id, room_id, event_id, target, reason, score)
    select ${row.kind}, ${row.received_at}, ${row.user_id}, ${row.room_id}, ${row.event_id},
      ${row.target}, ${row.reason}, ${row.score}::int
    where (select count(*) from reports where user_id = ${row.user_id}) < ${max}
    returning id`
  return rows.length > 0
}

const matching = `
  from reports where kind = $1 and position($2 in user_id) > 0
    and position($3 in coalesce(room_id, '')) > 0 and ($4 = '' or target = $4)`

export async function findReports(
  db: Db,
  filter: ReportFilter,
  page: { readonly from: number; readonly limit: number; readonly backwards: boolean },
): Promise<{ rows: ReportRow[]; total: number }> {
  const { kind, user = '', room = '', target = '' } = filter
  const given = [kind, user, room, target]
  const order = page.backwards ? 'received_at desc, id desc' : 'received_at, id'
  const rows = await db.query<ReportRow>(
    `select * ${matching} order by ${order} limit $5 offset $6`,
    [...given, page.limit, page.from],
  )
  const [counted] = await db.query<{ total: number }>(`select count(*) as total ${matching}`, given)
  return { rows, total: counted?.total ?? 0 }
}

export async function findReport(db: Db, id: number): Promise<ReportRow | undefined> {
  const [row] = await db<ReportRow>`select * from reports where id = ${id}`
  return row
}

/** False when there is none. */
export async function deleteReport(db: Db, id: number): Promise<boolean> {
  return (await db`delete from reports where id = ${id} returning id`).length > 0
}
