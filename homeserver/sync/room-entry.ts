/** The entry of a room that the user is in or has left: timeline, state, and what hangs on them. */
import type { RoomId } from '../../spec/ids.ts'
import type { Events, Seen } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { Unread } from '../notifications/unread.ts'
import type { MembershipRow } from '../rooms/rooms.ts'
import type { Position } from '../stream/log.ts'
import { type EventWriter, type EventWriterNeeds, eventList, objectOf } from './event-text.ts'
import type { SentMembers } from './lazy-members.ts'
import type { ChangedKeys, Recent } from './recent.ts'
import type { Scope } from './request.ts'
import { readState } from './room-state.ts'
import { readTimeline, type Timeline } from './room-timeline.ts'
import type { MemberSummaries } from './sliding/member-summaries.ts'
import {
  changedKeysOf,
  membershipAt,
  type StateView,
  stateViewAfter,
  stateViewAt,
} from './state-view.ts'
import { readSummary, summaryChanged, summaryText } from './summary.ts'

export interface RoomEntryNeeds {
  readonly events: Pick<
    Events,
    | 'get'
    | 'timeline'
    | 'historyPointAt'
    | 'visibleTo'
    | 'currentState'
    | 'currentEntry'
    | 'stateAt'
    | 'stateEntry'
    | 'relations'
    | 'partial'
  >
  readonly summaries: MemberSummaries
  readonly rooms: EventWriterNeeds['rooms']
  readonly recent: Recent
  readonly sentMembers: SentMembers
  readonly position: () => Position
}

/** What was read of a room outside of its events. */
export interface RoomExtras {
  /** Events as texts. */
  readonly ephemeral: readonly string[]
  readonly accountData: readonly string[]
  readonly unread: Unread | undefined
}

/** A joined room's entry, or nothing when nothing is new. */
export interface JoinedEntry {
  readonly text: string
  readonly changed: ChangedKeys
  /** The client had no state of the room. */
  readonly isNew: boolean
}

export async function joinedEntry(
  needs: RoomEntryNeeds,
  row: MembershipRow,
  extras: RoomExtras,
  scope: Scope,
  write: EventWriter,
): Promise<JoinedEntry | undefined> {
  const { events } = needs
  const { room } = row
  const isNew = await isNewTo(needs, row, scope)
  const after = isNew ? 0 : (scope.since?.position ?? 0)
  const interval = { room, after, upTo: scope.upTo, isWhole: isNew || scope.fullState }
  const view = stateViewAt(needs, room, scope.upTo)
  const changed = isNew ? '*' : await changedKeysOf(needs, room, after, scope.upTo)
  const timeline = await withRelations(needs, await readTimeline(events, interval, scope), scope)
  const summary = summaryChanged(changed, interval.isWhole)
    ? await readSummary(needs.summaries, interval, view, scope)
    : undefined
  const heroes = summary?.heroes ?? []
  const question = { interval, timeline: timeline.shown, changed, view, heroes }
  const state = await readState(needs, question, scope)
  const { ephemeral, accountData, unread } = extras
  const isEmpty =
    timeline.shown.length + state.length + ephemeral.length + accountData.length === 0 &&
    !timeline.limited &&
    summary === undefined
  if (isEmpty) return undefined
  const text = objectOf([
    summary && summaryText(summary),
    await stateText(state, scope, write),
    await timelineText(timeline, write),
    `"ephemeral":${eventList(ephemeral)}`,
    `"account_data":${eventList(accountData)}`,
    unread && unreadText(unread, scope),
  ])
  return { text, changed, isNew }
}

/** A room that the user left, up to when they did. */
export async function leftEntry(
  needs: RoomEntryNeeds,
  row: MembershipRow,
  accountData: readonly string[],
  scope: Scope,
  write: EventWriter,
): Promise<string> {
  const { events } = needs
  const { room, since: upTo } = row
  const leave = (await events.get([row.eventId])).get(row.eventId)
  const isOutside = leave?.stateAfter === undefined
  const isNew =
    scope.since === undefined ||
    upTo <= scope.since.position ||
    (!isOutside && (await wasOutside(needs, room, scope)))
  const after = isNew ? 0 : (scope.since?.position ?? 0)
  const interval = { room, after, upTo, isWhole: isNew || scope.fullState }
  const timeline = isOutside
    ? outsideTimeline(leave)
    : await withRelations(needs, await readTimeline(events, interval, scope), scope)
  const view: StateView = stateViewAfter(events, leave)
  const changed = isNew ? '*' : await changedKeysOf(needs, room, after, upTo)
  const question = { interval, timeline: timeline.shown, changed, view, heroes: [] }
  const state = isOutside ? [] : await readState(needs, question, scope)
  return objectOf([
    await stateText(state, scope, write),
    await timelineText(timeline, write),
    `"account_data":${eventList(accountData)}`,
  ])
}

/** Whoever has not seen all of what relates to events is told of it. {@link https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events} */
async function withRelations(
  { rooms }: RoomEntryNeeds,
  timeline: Timeline,
  { user }: Scope,
): Promise<Timeline> {
  if (!timeline.limited || rooms.withRelations === undefined) return timeline
  return { ...timeline, shown: await rooms.withRelations(user, timeline.shown) }
}

/** An invite that was refused, in a room of which this server has nothing else. */
function outsideTimeline(leave: StoredEvent | undefined): Timeline {
  const shown: Seen[] = leave === undefined ? [] : [{ event: leave, membership: 'leave' }]
  return { shown, limited: false }
}

/** Has the client no state of a joined room: whoever left and came back in between has. */
async function isNewTo(needs: RoomEntryNeeds, row: MembershipRow, scope: Scope): Promise<boolean> {
  if (scope.since === undefined) return true
  const completedAt = (await needs.events.partial.view()).completedAt(row.room)
  const isLazy = scope.filter.room?.state?.lazy_load_members === true
  if (!isLazy && completedAt !== undefined && completedAt > scope.since.position) return true
  return row.since > scope.since.position && (await wasOutside(needs, row.room, scope))
}

async function wasOutside(needs: RoomEntryNeeds, room: RoomId, scope: Scope): Promise<boolean> {
  const position = scope.since?.position ?? 0
  return (await membershipAt(needs.events, room, scope.user, position)) !== 'join'
}

async function stateText(
  state: readonly StoredEvent[],
  { useStateAfter, stateAfterName = 'state_after' }: Scope,
  write: EventWriter,
): Promise<string> {
  const texts = await write(state)
  return `"${useStateAfter ? stateAfterName : 'state'}":${eventList(texts)}`
}

async function timelineText(
  { shown, limited, prevBatch }: Timeline,
  write: EventWriter,
): Promise<string> {
  const texts = await write(shown)
  const place = prevBatch === undefined ? '' : `,"prev_batch":${JSON.stringify(prevBatch)}`
  return `"timeline":{"events":[${texts.join(',')}],"limited":${limited}${place}}`
}

/** {@link https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications} */
function unreadText({ total, main, threads }: Unread, { filter }: Scope): string {
  const byThread = filter.room?.timeline?.unread_thread_notifications === true
  const room = `"unread_notifications":${countText(byThread ? main : total)}`
  if (!byThread || threads.size === 0) return room
  const counts = [...threads].map(([root, count]) => `${JSON.stringify(root)}:${countText(count)}`)
  return `${room},"unread_thread_notifications":{${counts.join(',')}}`
}

function countText({ notify, highlight }: { notify: number; highlight: number }): string {
  return `{"notification_count":${notify},"highlight_count":${highlight}}`
}
