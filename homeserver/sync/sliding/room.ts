/** What a client is sent of one room. */
import { type StateKey, stateKeyOf } from '../../../spec/events/event.ts'
import type { EventId, UserId } from '../../../spec/ids.ts'
import { isBump } from '../../events/activity.ts'
import type { Events, Seen } from '../../events/events.ts'
import type { StoredEvent } from '../../events/stored-event.ts'
import type { Unread } from '../../notifications/unread.ts'
import type { MembershipRow } from '../../rooms/rooms.ts'
import type { Position } from '../../stream/log.ts'
import type { EventWriter, EventWriterNeeds } from '../event-text.ts'
import type { ChangedKeys, Recent } from '../recent.ts'
import { readTimeline, type Timeline } from '../room-timeline.ts'
import { changedKeysOf, type StateView, stateViewAfter, stateViewAt } from '../state-view.ts'
import { readStrippedEvents, type StrippedNeeds } from '../stripped-state.ts'
import { type Coverage, coverageOf, coveredState } from './coverage.ts'
import { heroesFor, type MemberSummaries } from './member-summaries.ts'
import type { Dialect } from './request.ts'
import { readRequiredState, type StateAnswer } from './required-state.ts'
import { roomText } from './room-text.ts'
import type { Sending } from './sent-members.ts'

export interface RoomNeeds extends Omit<StrippedNeeds, 'events'> {
  readonly rooms: StrippedNeeds['rooms'] & Pick<EventWriterNeeds['rooms'], 'withRelations'>
  readonly events: StrippedNeeds['events'] &
    Parameters<typeof readTimeline>[0] &
    Parameters<typeof changedKeysOf>[0]['events'] &
    Pick<Events, 'stateEntry'>
  readonly recent: Recent
  readonly summaries: MemberSummaries
  readonly position: () => Position
}

/** The same for all rooms of an answer. */
export interface RoomScope {
  readonly user: UserId
  readonly dialect: Dialect
  readonly upTo: Position
  /** The position that the client came with; what happened later is live. */
  readonly asked: Position | undefined
  readonly ignored: ReadonlySet<UserId>
  readonly write: EventWriter
  readonly sending: Sending
}

/** A room that may have something to send. */
export interface RoomTask {
  readonly row: MembershipRow
  readonly bump: Position
  /** Up to where the client has the room; 0 when it has nothing of it, or begins anew with it. */
  readonly after: Position
  readonly asked: Coverage
  readonly before: Coverage | undefined
  /** More of the timeline is asked for than was sent. */
  readonly isExpanded: boolean
  readonly isDm: boolean
  readonly wasDm: boolean | undefined
  readonly unread: Unread | undefined
  /** The requester has read something: what is unread has changed, if nothing else. */
  readonly hasRead: boolean
  readonly lists: readonly string[]
}

/** What was found; `text` is absent when nothing of it is news. */
export interface RoomFound {
  readonly text: string | undefined
  /** The rules that the client's copy of the room then fulfils. */
  readonly coverage: Coverage
  readonly isInitial: boolean
  readonly isExpanded: boolean
  /** Ids of the timeline. */
  readonly shown: readonly EventId[]
}

const nameKey = stateKeyOf('m.room.name', '')
const avatarKey = stateKeyOf('m.room.avatar', '')
const memberPrefix = stateKeyOf('m.room.member', '')

export async function readRoom(
  needs: RoomNeeds,
  task: RoomTask,
  scope: RoomScope,
): Promise<RoomFound> {
  const { membership } = task.row
  if (membership === 'invite' || membership === 'knock')
    return await readOutside(needs, task, scope)
  return await readInside(needs, task, scope, membership === 'join')
}

/** A room that the user may come into: what they were told of it. */
async function readOutside(
  needs: RoomNeeds,
  { row, asked, isDm, wasDm = false, lists }: RoomTask,
  { dialect }: RoomScope,
): Promise<RoomFound> {
  const strippedState = await readStrippedEvents(needs, row)
  const bump = row.position
  const { membership } = row
  const entry = { isInitial: true, strippedState, bump, membership, lists }
  const text = roomText(dialect, { ...entry, ...(isDm !== wasDm && { isDm }) })
  return { text, coverage: asked, isInitial: true, isExpanded: false, shown: [] }
}

/** A room that the user is in, or was in up to when they left. */
async function readInside(
  needs: RoomNeeds,
  task: RoomTask,
  scope: RoomScope,
  isJoined: boolean,
): Promise<RoomFound> {
  const { row, asked } = task
  const { room } = row
  const left = isJoined ? undefined : await leaveOf(needs, row)
  const upTo = isJoined ? scope.upTo : Math.min(row.position, scope.upTo)
  const view = isJoined ? stateViewAt(needs, room, upTo) : leftView(needs, left)
  const given = Math.min(task.after, upTo)
  const changed: ChangedKeys =
    given === 0 ? '*' : await changedIn(needs, task, { after: given, upTo }, left)
  const isInitial = changed === '*'
  const after = isInitial || task.isExpanded ? 0 : given
  const timeline = await timelineOf(needs, task, scope, { after, upTo, left })
  const state = await readRequiredState({
    ...{ room, view, changed, asked, sending: scope.sending },
    before: isInitial ? undefined : task.before,
    timeline: timeline?.shown ?? [],
    limited: timeline?.limited ?? false,
  })
  const about = await aboutRoom(needs, task, scope, { changed, view, isJoined, timeline })
  const found = { task, isInitial, timeline, state, about, isJoined }
  const isNews = isInitial || hasNews(found)
  const text = isNews ? await textOf(found, scope) : undefined
  if (isNews)
    for (const { pdu } of state.lazy) scope.sending.add(room, pdu.stateKey ?? '', pdu.eventId)
  return {
    text,
    coverage: coverageAfter(task, state, isInitial, timeline?.limited ?? false),
    isInitial,
    isExpanded: task.isExpanded && !isInitial,
    shown: timeline?.shown.map(({ event }) => event.pdu.eventId) ?? [],
  }
}

async function leaveOf(
  { events }: RoomNeeds,
  { eventId }: MembershipRow,
): Promise<StoredEvent | undefined> {
  return (await events.get([eventId])).get(eventId)
}

/** The state that somebody who left has seen; of a room that they had not come into, their leaving. */
function leftView({ events }: RoomNeeds, left: StoredEvent | undefined): StateView {
  if (left === undefined || wasInside(left)) return stateViewAfter(events, left)
  const key = stateKeyOf(left.pdu.type, left.pdu.stateKey ?? '')
  const state = new Map([[key, left]])
  return {
    all: async () => state,
    get: async (keys) => new Map([...keys].includes(key) ? state : []),
  }
}

/** Was whoever left, or was banned, in the room until then. */
export function wasInside({ stateAfter, replaces }: StoredEvent): boolean {
  return stateAfter !== undefined && replaces?.content['membership'] === 'join'
}

async function changedIn(
  needs: RoomNeeds,
  { row }: RoomTask,
  { after, upTo }: { after: Position; upTo: Position },
  left: StoredEvent | undefined,
): Promise<ChangedKeys> {
  if (after >= upTo) return new Set()
  const own = stateKeyOf('m.room.member', row.user)
  if (left !== undefined && !wasInside(left)) return new Set([own])
  return await changedKeysOf(needs, row.room, after, upTo)
}

/** Nothing when none is asked for. */
async function timelineOf(
  { events, rooms }: RoomNeeds,
  { row, asked }: RoomTask,
  { user, ignored }: RoomScope,
  range: { after: Position; upTo: Position; left: StoredEvent | undefined },
): Promise<Timeline | undefined> {
  const { after, upTo, left } = range
  if (asked.timelineLimit === 0) return undefined
  // An invite that was refused, in a room of which there is nothing else.
  if (left !== undefined && left.stateAfter === undefined) {
    return { shown: after < upTo ? [{ event: left, membership: 'leave' }] : [], limited: false }
  }
  const filter = { room: { timeline: timelineFilter(asked.timelineLimit) } }
  const interval = { room: row.room, after, upTo }
  const timeline = await readTimeline(events, interval, { user, ignored, filter })
  // Whoever has all events puts together for themselves what belongs together.
  if (!timeline.limited || rooms.withRelations === undefined) return timeline
  return { ...timeline, shown: await rooms.withRelations(user, timeline.shown) }
}

const timelineFilters = new Map<number, { readonly limit: number }>()

function timelineFilter(limit: number): { readonly limit: number } {
  const known = timelineFilters.get(limit) ?? { limit }
  timelineFilters.set(limit, known)
  return known
}

/** What is told of a room beside its events; null for what it had and has no more. */
export interface About {
  readonly name?: string | null
  readonly avatar?: string | null
  readonly heroes?: readonly MembershipRow[]
  readonly joined?: number
  readonly invited?: number
  readonly bump?: number
  readonly isDm?: boolean
}

async function aboutRoom(
  { summaries }: RoomNeeds,
  task: RoomTask,
  { user }: RoomScope,
  read: {
    changed: ChangedKeys
    view: StateView
    isJoined: boolean
    timeline: Timeline | undefined
  },
): Promise<About> {
  const { changed, view, isJoined, timeline } = read
  const { room, position } = task.row
  const bump = isJoined ? Math.max(task.bump, bumpIn(timeline?.shown ?? [])) : position
  const about: { -readonly [K in keyof About]: About[K] } = {}
  if (changed === '*' || bump > task.after) about.bump = bump
  if (changed === '*' ? task.isDm : task.isDm !== task.wasDm) about.isDm = task.isDm
  const hasName = changed === '*' || changed.has(nameKey)
  const hasMembers = changed === '*' || hasMember(changed)
  const keys = [nameKey, avatarKey].filter((key) => changed === '*' || changed.has(key))
  const isUnnamed = hasMembers && !hasName
  const found = await view.get(isUnnamed && isJoined ? [nameKey, ...keys] : keys)
  const name = textIn(found.get(nameKey), 'name')
  if (hasName && (name !== undefined || changed !== '*')) about.name = name ?? null
  if (changed === '*' || changed.has(avatarKey)) {
    const avatar = textIn(found.get(avatarKey), 'url')
    if (avatar !== undefined || changed !== '*') about.avatar = avatar ?? null
  }
  if (!isJoined || !(hasMembers || hasName)) return about
  const summary = await summaries.get(room)
  if (name === undefined) about.heroes = heroesFor(summary, user)
  if (!hasMembers) return about
  return { ...about, joined: summary.joined, invited: summary.invited }
}

function bumpIn(shown: readonly Seen[]): Position {
  const newest = shown.findLast(({ event }) => isBump(event.pdu.type))
  return newest?.event.position ?? 0
}

function hasMember(changed: ReadonlySet<StateKey>): boolean {
  for (const key of changed) if (key.startsWith(memberPrefix)) return true
  return false
}

function textIn(event: StoredEvent | undefined, field: string): string | undefined {
  const value = event?.redactedBy === undefined ? event?.pdu.content[field] : undefined
  return typeof value === 'string' && value !== '' ? value : undefined
}

interface Found {
  readonly task: RoomTask
  readonly isInitial: boolean
  readonly timeline: Timeline | undefined
  readonly state: StateAnswer
  readonly about: About
  readonly isJoined: boolean
}

function hasNews({ task, timeline, state, about }: Found): boolean {
  const events = (timeline?.shown.length ?? 0) + state.events.length + state.removed.length
  return events > 0 || timeline?.limited === true || task.hasRead || Object.keys(about).length > 0
}

async function textOf(
  { task, isInitial, timeline, state, about, isJoined }: Found,
  { dialect, write, asked }: RoomScope,
): Promise<string> {
  const { row, isExpanded, unread, lists } = task
  const live = ({ event }: Seen) => asked !== undefined && (event.position ?? 0) > asked
  return roomText(dialect, {
    ...about,
    ...{ isInitial, isExpanded: isExpanded && !isInitial, lists, membership: row.membership },
    requiredState: await write(state.events),
    removed: state.removed,
    ...(timeline !== undefined && {
      timeline: await write(timeline.shown),
      limited: timeline.limited,
      live: timeline.shown.filter(live).length,
      ...(timeline.prevBatch !== undefined && { prevBatch: timeline.prevBatch }),
    }),
    ...(isJoined && unread !== undefined && { unread: unread.total }),
  })
}

/** Less of the timeline than before counts only when something was left out: what came before it is known. */
function coverageAfter(
  { asked, before }: RoomTask,
  { hasMissed }: StateAnswer,
  isInitial: boolean,
  limited: boolean,
): Coverage {
  if (isInitial || before === undefined) return asked
  const isLess = asked.timelineLimit < before.timelineLimit && limited
  const timelineLimit = isLess
    ? asked.timelineLimit
    : Math.max(asked.timelineLimit, before.timelineLimit)
  return coverageOf({ timelineLimit, required: coveredState(before, asked, hasMissed) })
}
