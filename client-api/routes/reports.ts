/** Reporting of events, rooms and users, and what administrators read of it, in the shapes of Synapse. */
import type { Report, Reports } from '../../homeserver/rooms/reports.ts'
import * as api from '../../spec/api/client/reports.ts'
import { notFound } from '../../spec/errors.ts'
import { given } from '../given.ts'
import { route } from '../router.ts'

export const reportRoutes = ({ reports }: { readonly reports: Reports }) => [
  route(api.reportEvent, async ({ params: { roomId, eventId }, body }, who) => {
    await reports.reportEvent(who, roomId, eventId, body)
    return {}
  }),
  route(api.reportRoom, async ({ params: { roomId }, body }, who) => {
    await reports.reportRoom(who, roomId, body)
    return {}
  }),
  route(api.reportUser, async ({ params: { userId }, body }, who) => {
    await reports.reportUser(who, userId, body)
    return {}
  }),
  route(api.listEventReports, async ({ query }) => {
    const { user_id: user, room_id: room, event_sender_user_id: target } = query
    const filter = { kind: 'event' as const, ...given({ user, room, target }) }
    const { list, ...counted } = await pageOf(reports, filter, query)
    return { event_reports: list.map(eventReport), ...counted }
  }),
  route(api.listRoomReports, async ({ query }) => {
    const filter = { kind: 'room' as const, ...given({ user: query.user_id, room: query.room_id }) }
    const { list, ...counted } = await pageOf(reports, filter, query)
    return { room_reports: list.map(roomReport), ...counted }
  }),
  route(api.listUserReports, async ({ query }) => {
    const { user_id: user, target_user_id: target } = query
    const filter = { kind: 'user' as const, ...given({ user, target }) }
    const { list, ...counted } = await pageOf(reports, filter, query)
    return { user_reports: list.map(userReport), ...counted }
  }),
  route(api.getReport, async ({ params: { reportId } }) => {
    const found = await reports.find(reportId)
    switch (found?.kind) {
      case undefined:
        throw notFound('Report')
      case 'event':
        return { ...eventReport(found), ...given({ event_json: found.event?.pdu.json }) }
      case 'room':
        return roomReport(found)
      case 'user':
        return userReport(found)
    }
  }),
  route(api.deleteReport, async ({ params: { reportId } }) => {
    if (!(await reports.delete(reportId))) throw notFound('Report')
    return {}
  }),
]

interface Page {
  readonly from: number
  readonly limit: number
  readonly dir: 'b' | 'f'
}

async function pageOf(
  reports: Reports,
  filter: Parameters<Reports['list']>[0],
  { from, limit, dir }: Page,
) {
  const page = await reports.list(filter, { from, limit, backwards: dir === 'b' })
  const next = from + page.reports.length
  return {
    list: page.reports,
    total: page.total,
    ...(from + limit < page.total && { next_token: next }),
  }
}

function report({ id, receivedAt, user, reason }: Report) {
  return { id, received_ts: receivedAt, user_id: user, reason: reason ?? null }
}

function roomReport(one: Report) {
  const { room = '', roomName, roomAlias } = one
  const names = { name: roomName ?? null, canonical_alias: roomAlias ?? null }
  return { ...report(one), room_id: room, ...names }
}

function eventReport(one: Report) {
  const { eventId = '', score, target } = one
  return { ...roomReport(one), event_id: eventId, score: score ?? null, sender: target ?? null }
}

function userReport(one: Report) {
  return { ...report(one), target_user_id: one.target ?? '' }
}
