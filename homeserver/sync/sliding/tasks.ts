/** Which of the relevant rooms have something to send, and what of the others has to be remembered as unsent. */
import type { RoomId, UserId } from '../../../spec/ids.ts'
import type { MembershipRow } from '../../rooms/rooms.ts'
import type { Position } from '../../stream/log.ts'
import type { Recent } from '../recent.ts'
import { type Coverage, combined, growthOf } from './coverage.ts'
import type { ListedRoom, Relevance } from './lists.ts'
import { slidingLimits } from './request.ts'
import type { RoomTask } from './room.ts'
import { live, type Sent, type SentDraft, type SentRoom } from './sent.ts'

/** Up to where a connection has got, and what it was sent until then. */
export interface From {
  readonly position: Position
  readonly sent: Sent
}

/** Positions that an answer goes from and to. */
export interface Span {
  readonly user: UserId
  /** Absent in the first answer of a connection. */
  readonly from: From | undefined
  readonly upTo: Position
}

/** Is a room in the lists of a connection. */
export function isListed(row: MembershipRow, from: From | undefined, hasHistory: boolean): boolean {
  switch (row.membership) {
    case 'ban':
      // Who was banned without ever having been there learns nothing of the room.
      return hasHistory && !row.forgotten
    case 'leave': {
      if (row.forgotten) return false
      if (row.sender !== row.user) return true
      // The client is told that the user has left, once, if it had the room.
      const sent = from?.sent.rooms.get(row.room)
      return from !== undefined && sent !== undefined && row.position > upToOf(sent, from)
    }
    default:
      return true
  }
}

/** The rooms to read. */
export function tasksFor(
  recent: Recent,
  rooms: ReadonlyMap<RoomId, ListedRoom>,
  relevant: ReadonlyMap<RoomId, Relevance>,
  direct: ReadonlySet<RoomId>,
  span: Span,
): { readonly tasks: readonly RoomTask[]; readonly isAll: boolean } {
  const coverages = new Map<Relevance, Coverage>()
  const tasks: RoomTask[] = []
  for (const [room, relevance] of relevant) {
    const listed = rooms.get(room)
    if (listed === undefined) continue
    const asked = coverages.get(relevance) ?? combined(relevance.rules)
    coverages.set(relevance, asked)
    const task = taskFor(recent, listed, asked, relevance.lists, direct.has(room), span)
    if (task !== undefined) tasks.push(task)
  }
  const isAll = tasks.length <= slidingLimits.roomsPerAnswer
  return { tasks: isAll ? tasks : tasks.slice(0, slidingLimits.roomsPerAnswer), isAll }
}

function taskFor(
  recent: Recent,
  { row, bump, last }: ListedRoom,
  asked: Coverage,
  lists: readonly string[],
  isDm: boolean,
  span: Span,
): RoomTask | undefined {
  const { from } = span
  const before = from?.sent.rooms.get(row.room)
  const upTo = from === undefined || before === undefined ? 0 : upToOf(before, from)
  // Whoever comes in, again or in another way, begins anew.
  const isOutside = row.membership === 'leave' || row.membership === 'ban'
  const after = isOutside || row.since <= upTo ? upTo : 0
  const growth = before && after > 0 ? growthOf(before.coverage, asked) : undefined
  const isGrown = growth !== undefined && (growth.moreTimeline || growth.moreState)
  const news = newsIn(recent, row, { after, last }, span)
  if (after > 0 && !isGrown && isDm === before?.isDm && news === 'none') return undefined
  return {
    ...{ row, bump, after, asked, lists, isDm },
    before: after > 0 ? before?.coverage : undefined,
    isExpanded: growth?.moreTimeline === true,
    wasDm: before?.isDm,
    unread: undefined,
    hasRead: news === 'read',
  }
}

/** Certain only when it says that there is none; `read`: the user moved a receipt. */
function newsIn(
  recent: Recent,
  row: MembershipRow,
  { after, last }: { after: Position; last: Position },
  { user, upTo }: Span,
): 'some' | 'read' | 'none' {
  if (row.position > after) return 'some'
  if (row.membership !== 'join') return 'none'
  if (!recent.covers(after)) return last > after ? 'some' : 'none'
  let found: 'read' | 'none' = 'none'
  for (const { kind, user: reader } of recent.ofRoom(row.room, after, upTo)) {
    if (kind !== 'receipt') return 'some'
    if (reader === user) found = 'read'
  }
  return found
}

/** Remembers of rooms that are not in the answer that they are behind. */
export function markUnsent(
  recent: Recent,
  rooms: ReadonlyMap<RoomId, ListedRoom>,
  isAnswered: (room: RoomId) => boolean,
  draft: SentDraft,
  span: Span,
): void {
  const { from } = span
  if (from === undefined) return
  for (const [room, sent] of from.sent.rooms) {
    if (isAnswered(room) || sent.upTo !== live) continue
    const listed = rooms.get(room)
    if (listed === undefined) continue
    const { row, last } = listed
    const news = newsIn(recent, row, { after: from.position, last }, span)
    if (news !== 'none') draft.setRoom(room, { ...sent, upTo: from.position })
  }
}

function upToOf({ upTo }: SentRoom, { position }: From): Position {
  return upTo === live ? position : upTo
}
