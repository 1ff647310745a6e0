/** One answer, put together: everything that the client asked for up to one position of the log, and nothing after it. */
import type { EventId, RoomId } from '../../../spec/ids.ts'
import type { AccountData } from '../../accounts/account-data.ts'
import type { StoredEvent } from '../../events/stored-event.ts'
import type { Notifications } from '../../notifications/notifications.ts'
import type { Logger } from '../../platform/log.ts'
import type { Memberships, Requester } from '../../rooms/rooms.ts'
import type { Position, Tail } from '../../stream/log.ts'
import { type EventWriterNeeds, eventWriter, objectOf } from '../event-text.ts'
import { readMemberships } from '../memberships-at.ts'
import { withoutUnwanted } from '../wanted-invites.ts'
import { type ExtensionsNeeds, readExtensions } from './extensions.ts'
import {
  type ListedRoom,
  type ListsNeeds,
  type ListWindow,
  relevantRooms,
  sortedRooms,
  windowsOf,
} from './lists.ts'
import { type RoomRule, type SlidingRequest, slidingLimits } from './request.ts'
import {
  type RoomFound,
  type RoomNeeds,
  type RoomScope,
  type RoomTask,
  readRoom,
  wasInside,
} from './room.ts'
import { draftOf, live, nothingSent, type Sent } from './sent.ts'
import type { Sending } from './sent-members.ts'
import { type From, isListed, markUnsent, type Span, tasksFor } from './tasks.ts'

export interface SlidingComposeNeeds
  extends RoomNeeds,
    ExtensionsNeeds,
    ListsNeeds,
    EventWriterNeeds {
  readonly rooms: RoomNeeds['rooms'] & EventWriterNeeds['rooms']
  readonly events: RoomNeeds['events'] & ListsNeeds['events'] & EventWriterNeeds['events']
  readonly accountData: ExtensionsNeeds['accountData'] &
    Pick<AccountData, 'ignoredUsers' | 'invitePermission'>
  readonly memberships: Pick<Memberships, 'ofUser'>
  readonly notifications: Pick<Notifications, 'unreadCounts'>
  readonly tail: Pick<Tail, 'position' | 'reached'>
  readonly log: Logger
}

/** Where a request starts from. */
export interface SlidingSince extends From {
  readonly typing: number
}

export interface SlidingComposed {
  /** Members of the answer, as JSON text. */
  readonly lists: () => string
  readonly rooms: string
  readonly extensions: string
  /** All was read: until something happens there is nothing more for the same rules. */
  readonly isSettled: boolean
  /** There is something that the client does not have. */
  readonly hasNews: boolean
  /** Up to where the client has everything then, and what it has. */
  readonly upTo: Position
  readonly sent: Sent
}

export async function composeSliding(
  needs: SlidingComposeNeeds,
  who: Pick<Requester, 'user' | 'device'>,
  request: SlidingRequest,
  since: SlidingSince | undefined,
  // The position that the client came with, and the members that it is sent.
  given: { readonly asked: Position | undefined; readonly sending: Sending },
): Promise<SlidingComposed> {
  const { user } = who
  if (since !== undefined) await needs.recent.extend(since.position)
  const ignored = await needs.accountData.ignoredUsers(user)
  const { rows, upTo } = await readMemberships(needs, user)
  const span: Span = { user, from: since, upTo }
  const shown = (await withoutUnwanted(needs.accountData, user, rows)).filter(
    ({ membership, sender, forgotten }) =>
      !forgotten && (membership !== 'invite' || !ignored.has(sender)),
  )
  const all = await sortedRooms(needs, shown)
  const byId = new Map(all.map((room) => [room.row.room, room]))
  const listed = await listedRooms(needs, all, since)
  const subscribed = await subscribedRooms(needs, request, byId, since)
  const windows = await windowsOf(needs, user, request.lists, listed)
  const relevant = relevantRooms(windows, request.lists, subscribed)
  const direct = await needs.userRooms.direct(user)
  const { tasks, isAll } = tasksFor(needs.recent, byId, relevant, direct, span)
  const write = eventWriter(needs, { ...asClassic, user, device: who.device })
  const scope: RoomScope = { user, upTo, ignored, write, dialect: request.dialect, ...given }
  const found = await readRooms(needs, tasks, scope)

  const draft = draftOf(since?.sent ?? nothingSent)
  const done = new Set(relevant.keys())
  for (const { row } of tasks) if (!found.has(row.room)) done.delete(row.room)
  rememberRooms({ tasks, found, draft, done, byId })
  markUnsent(needs.recent, byId, (room) => done.has(room), draft, span)
  const extensions = await readExtensions(needs, {
    ...span,
    ...{
      device: who.device,
      extensions: request.extensions,
      typing: since?.typing,
      ignored,
      draft,
    },
    windows,
    subscribed: new Set(subscribed.keys()),
    isJoined: (room) => byId.get(room)?.row.membership === 'join',
    shown: new Map(
      [...found].map(([room, { isInitial, isExpanded, shown }]) => [
        room,
        { isWhole: isInitial || isExpanded, ids: shown },
      ]),
    ),
  })
  const texts = [...found].flatMap(([room, { text }]) =>
    text === undefined ? [] : `${JSON.stringify(room)}:${text}`,
  )
  return {
    lists: () => listsText(windows, request.dialect),
    rooms: `{${texts.join(',')}}`,
    extensions: extensions.text,
    // A room that the user has left is gone from the lists once they were told.
    isSettled:
      isAll && found.size === tasks.length && tasks.every(({ row }) => row.membership !== 'leave'),
    hasNews: texts.length > 0 || extensions.hasNews || !isAll,
    upTo,
    sent: draft.result(),
  }
}

/** What is answered when nothing has happened since, and the lists are as they were. */
export async function composeNothing(
  needs: ExtensionsNeeds,
  { user, device }: Pick<Requester, 'user' | 'device'>,
  { extensions }: SlidingRequest,
  since: SlidingSince,
  { upTo, lists }: { readonly upTo: Position; readonly lists: string },
): Promise<SlidingComposed> {
  const found = await readExtensions(needs, {
    ...{ user, device, from: since, upTo, extensions, typing: since.typing },
    ...{ windows: new Map(), subscribed: new Set(), shown: new Map(), ignored: new Set() },
    ...{ isJoined: () => false, draft: draftOf(since.sent) },
  })
  const { text, hasNews } = found
  const same = { upTo, sent: since.sent, isSettled: true }
  return { ...same, lists: () => lists, rooms: '{}', extensions: text, hasNews }
}

const asClassic = { filter: {}, fullState: false, useStateAfter: false } as const

/** Those of the user's rooms that are in the lists, in order. */
async function listedRooms(
  { events }: SlidingComposeNeeds,
  rooms: readonly ListedRoom[],
  since: SlidingSince | undefined,
): Promise<readonly ListedRoom[]> {
  const bans = rooms.flatMap(({ row }) => (row.membership === 'ban' ? row.eventId : []))
  const banned = bans.length === 0 ? new Map() : await events.get(bans)
  return rooms.filter(({ row }) =>
    isListed(row, since, banned.get(row.eventId)?.replaces !== undefined),
  )
}

/** Those of the rooms asked for by name of which the user may know: left ones, if they were in them or the client was. */
async function subscribedRooms(
  { events }: SlidingComposeNeeds,
  { subscriptions }: SlidingRequest,
  rooms: ReadonlyMap<RoomId, ListedRoom>,
  since: SlidingSince | undefined,
): Promise<ReadonlyMap<RoomId, RoomRule>> {
  if (subscriptions.size === 0) return subscriptions
  const asked = [...subscriptions].flatMap(([room, rule]) => {
    const row = rooms.get(room)?.row
    return row === undefined ? [] : [{ row, rule }]
  })
  const isPast = ({ row }: (typeof asked)[number]) =>
    (row.membership === 'leave' || row.membership === 'ban') && !since?.sent.rooms.has(row.room)
  const past = asked.filter(isPast).map(({ row }) => row.eventId)
  const leaves = past.length === 0 ? new Map<EventId, StoredEvent>() : await events.get(past)
  const mayKnow = asked.filter((one) => {
    const leave = leaves.get(one.row.eventId)
    return !isPast(one) || (leave !== undefined && wasInside(leave))
  })
  return new Map(mayKnow.map(({ row, rule }) => [row.room, rule]))
}

/** Rooms by id; what cannot be read, or is too much for one answer, is left out and tried again the next time. */
async function readRooms(
  needs: SlidingComposeNeeds,
  tasks: readonly RoomTask[],
  scope: RoomScope,
): Promise<ReadonlyMap<RoomId, RoomFound>> {
  const unread = scope.dialect === 'unstable' ? await readUnread(needs, tasks, scope) : new Map()
  const found = new Map<RoomId, RoomFound>()
  const rest = [...tasks].reverse()
  let characters = 0
  const next = () => (characters < slidingLimits.charactersPerAnswer ? rest.pop() : undefined)
  const runner = async () => {
    for (let task = next(); task !== undefined; task = next()) {
      const { room } = task.row
      try {
        const one = await readRoom(needs, { ...task, unread: unread.get(room) }, scope)
        characters += one.text?.length ?? 0
        found.set(room, one)
      } catch (error) {
        needs.log.error({ room, user: scope.user, error }, 'room left out of a sliding sync')
      }
    }
  }
  const runners = Math.min(slidingLimits.roomsAtOnce, tasks.length)
  await Promise.all(Array.from({ length: runners }, runner))
  return found
}

/** Counts of what is unread; an answer without them is better than none. */
async function readUnread(
  { notifications, log }: SlidingComposeNeeds,
  tasks: readonly RoomTask[],
  { user }: RoomScope,
) {
  const joined = tasks.flatMap(({ row }) => (row.membership === 'join' ? row.room : []))
  if (joined.length === 0) return new Map()
  try {
    return await notifications.unreadCounts(user, joined)
  } catch (error) {
    log.warn({ user, error }, 'unread counts left out of a sliding sync')
    return new Map()
  }
}

/** Notes what the client has now of the rooms that were answered. */
function rememberRooms({
  tasks,
  found,
  draft,
  done,
  byId,
}: {
  readonly tasks: readonly RoomTask[]
  readonly found: ReadonlyMap<RoomId, RoomFound>
  readonly draft: ReturnType<typeof draftOf>
  readonly done: ReadonlySet<RoomId>
  readonly byId: ReadonlyMap<RoomId, ListedRoom>
}): void {
  const before = draft.result().rooms
  for (const { row, isDm } of tasks) {
    const coverage = found.get(row.room)?.coverage
    if (coverage !== undefined) draft.setRoom(row.room, { upTo: live, coverage, isDm })
  }
  for (const [room, sent] of before) {
    if (!byId.has(room)) draft.dropRoom(room)
    // Nothing has happened there: it is up to date.
    else if (done.has(room) && !found.has(room)) draft.setRoom(room, { ...sent, upTo: live })
  }
}

/** What the proposal came to has no more than the count. */
function listsText(
  windows: ReadonlyMap<string, ListWindow>,
  dialect: SlidingRequest['dialect'],
): string {
  const texts = [...windows].map(([name, { count, ranges }]) => {
    const ops = ranges.map(({ range, rooms }) => ({ op: 'SYNC', range, room_ids: rooms }))
    const members = dialect === 'final' ? { count } : { count, ops }
    return `${JSON.stringify(name)}:${JSON.stringify(members)}`
  })
  return objectOf(texts)
}
