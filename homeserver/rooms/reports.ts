/**
 * What users find inappropriate: an event, a room, or another user. It is kept for the administrators until they
 * delete it, or the room goes. {@link https://spec.matrix.org/v1.19/client-server-api/#reporting-content}
 */
import { MatrixError, notFound } from '../../spec/errors.ts'
import type { EventId, RoomId, UserId } from '../../spec/ids.ts'
import { stringAt } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { requireStorable } from '../database/stored-text.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { Clock } from '../platform/clock.ts'
import * as queries from './report-queries.ts'
import type { Memberships, Requester, Rooms } from './rooms.ts'

/** What somebody says about a thing; `score` is from before v1.18: -100 is the worst, 0 inoffensive. */
interface Complaint {
  readonly reason?: string
  readonly score?: number
}

/** A report as administrators see it. */
export interface Report {
  readonly id: number
  readonly kind: queries.ReportKind
  /** Milliseconds since the epoch. */
  readonly receivedAt: number
  /** Who reports. */
  readonly user: UserId
  readonly room?: RoomId
  readonly eventId?: EventId
  /** The sender of the event, or the user that is reported. */
  readonly target?: UserId
  readonly reason?: string
  readonly score?: number
  /** How the room calls itself now. */
  readonly roomName?: string
  readonly roomAlias?: string
}

export interface Reports {
  /** @throws MatrixError M_NOT_FOUND unless the user is in the room and may see the event */
  reportEvent(who: Requester, room: RoomId, event: EventId, complaint: Complaint): Promise<void>
  /** Whoever knows the room may. @throws MatrixError M_NOT_FOUND for a room that is not here */
  reportRoom(who: Requester, room: RoomId, complaint: Complaint): Promise<void>
  /** Does not tell whether there is such a user. */
  reportUser(who: Requester, user: UserId, complaint: Complaint): Promise<void>
  list(
    filter: queries.ReportFilter,
    page: { readonly from: number; readonly limit: number; readonly backwards: boolean },
  ): Promise<{ readonly reports: readonly Report[]; readonly total: number }>
  find(id: number): Promise<(Report & { readonly event?: StoredEvent }) | undefined>
  /** False when there is none. */
  delete(id: number): Promise<boolean>
}

export const reportLimits = {
  /** Reports of one user that are kept at a time; further ones are refused. */
  perUser: 1_000,
  reasonBytes: 16_384,
} as const

interface Needs {
  readonly db: Database
  readonly clock: Clock
  readonly events: Pick<Events, 'get' | 'rulesOf' | 'currentOfRooms'>
  readonly memberships: Pick<Memberships, 'isJoined'>
  readonly rooms: Pick<Rooms, 'event'>
}

export function createReports({ db, clock, events, memberships, rooms }: Needs): Reports {
  async function store(
    kind: queries.ReportKind,
    { user }: Requester,
    about: { readonly room?: RoomId; readonly event?: EventId; readonly target?: UserId },
    { reason, score }: Complaint,
  ): Promise<void> {
    if (reason !== undefined) requireStorable('reason', reason, reportLimits.reasonBytes)
    const row = {
      ...{ kind, received_at: clock.now(), user_id: user },
      ...{ room_id: about.room ?? null, event_id: about.event ?? null },
      ...{ target: about.target ?? null, reason: reason ?? null, score: score ?? null },
    }
    if (await queries.insertReport(db, row, reportLimits.perUser)) return
    throw new MatrixError('M_LIMIT_EXCEEDED', `more than ${reportLimits.perUser} reports`)
  }

  /** Reports with what their rooms call themselves. */
  async function shown(rows: readonly queries.ReportRow[]): Promise<readonly Report[]> {
    const ids = [...new Set(rows.flatMap(({ room_id: room }) => (room === null ? [] : [room])))]
    const types = ['m.room.name', 'm.room.canonical_alias']
    const names = await events.currentOfRooms(ids, types)
    return rows.map((row) => reportOf(row, (row.room_id && names.get(row.room_id)) || []))
  }

  return {
    async reportEvent(who, room, event, complaint) {
      if (!(await memberships.isJoined(who.user, room))) throw notFound('Event')
      const { event: reported } = await rooms.event(who, room, event)
      await store('event', who, { room, event, target: reported.pdu.sender }, complaint)
    },
    async reportRoom(who, room, complaint) {
      if ((await events.rulesOf(room)) === undefined) throw notFound('Room')
      await store('room', who, { room }, complaint)
    },
    async reportUser(who, target, complaint) {
      await store('user', who, { target }, complaint)
    },
    async list(filter, page) {
      const { rows, total } = await queries.findReports(db, filter, page)
      return { reports: await shown(rows), total }
    },
    async find(id) {
      const row = await queries.findReport(db, id)
      const [report] = row === undefined ? [] : await shown([row])
      if (report?.eventId === undefined) return report
      const event = (await events.get([report.eventId])).get(report.eventId)
      return event === undefined ? report : { ...report, event }
    },
    delete: (id) => queries.deleteReport(db, id),
  }
}

function reportOf(row: queries.ReportRow, state: readonly StoredEvent[]): Report {
  const text = (type: string, key: string) => {
    const content = state.find(({ pdu }) => pdu.type === type)?.pdu.content
    return content && stringAt(content, key)
  }
  const roomName = text('m.room.name', 'name')
  const roomAlias = text('m.room.canonical_alias', 'alias')
  return {
    ...{ id: row.id, kind: row.kind, receivedAt: row.received_at, user: row.user_id },
    ...(row.room_id !== null && { room: row.room_id }),
    ...(row.event_id !== null && { eventId: row.event_id }),
    ...(row.target !== null && { target: row.target }),
    ...(row.reason !== null && { reason: row.reason }),
    ...(row.score !== null && { score: row.score }),
    ...(roomName !== undefined && { roomName }),
    ...(roomAlias !== undefined && { roomAlias }),
  }
}
