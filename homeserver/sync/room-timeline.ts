import { serverOfUser } from '../../spec/ids.ts'
import type { Filter } from '../../spec/sync/filter.ts'
import { timelineLimitOf } from '../../spec/sync/filter.ts'
import { formatHistoryToken } from '../../spec/sync/token.ts'
import type { Events, Seen } from '../events/events.ts'
import type { Relations } from '../events/relations.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import { passingEvents } from '../rooms/passing.ts'
import type { RoomInterval, Scope } from './request.ts'

/** The newest events of a room that a client may see and asked for. */
export interface Timeline {
  readonly shown: readonly Seen[]
  /** There is more between this and what the client has seen. */
  readonly limited: boolean
  /** Where to go on backwards; absent when nothing happened. */
  readonly prevBatch?: string
}

/** Pages read to fill a timeline whose filter lets little through. */
const pagesMax = 10
/** Events of a page when a filter sorts some out. */
const filteredPage = 100
/** Events before a timeline that are looked at for where to go on. */
const leftOutMax = 20

type Needs = Pick<Events, 'timeline' | 'visibleTo' | 'historyPointAt'> & {
  readonly relations: Pick<Relations, 'keepRelated'>
}

/** Reads from the newest event backwards until the limit is reached or the room's news are at an end. */
export async function readTimeline(
  events: Needs,
  { room, after, upTo }: Pick<RoomInterval, 'room' | 'after' | 'upTo'>,
  scope: Pick<Scope, 'user' | 'filter' | 'ignored'>,
): Promise<Timeline> {
  const filter = scope.filter.room?.timeline
  const limit = timelineLimitOf(filter)
  const pageMax = isSelective(filter) ? Math.max(limit, filteredPage) : limit
  let shown: Seen[] = []
  let oldest: StoredEvent | undefined
  let limited = false
  let isAfterGap = false
  for (let pages = 0, end = upTo; pages < pagesMax; pages++) {
    const page = await events.timeline(room, { after, upTo: end, limit: pageMax })
    const passing = await passingEvents(events, filter, page.events)
    const wanted = (await events.visibleTo(scope.user, passing)).filter((seen) =>
      isWanted(seen, scope),
    )
    const free = limit - shown.length
    limited = page.limited || wanted.length > free
    const taken = wanted.slice(Math.max(0, wanted.length - free))
    shown = [...taken, ...shown]
    oldest = wanted.length > free ? taken[0]?.event : (page.events[0] ?? oldest)
    isAfterGap = page.isAfterGap === true && wanted.length <= free
    if (!page.limited || page.isAfterGap || shown.length >= limit) break
    end = (page.events[0]?.position ?? 1) - 1
  }
  // A room joined over federation begins in the middle.
  if (after === 0 && oldest !== undefined && oldest.pdu.type !== 'm.room.create') limited = true
  const isOurs = ({ pdu }: StoredEvent) =>
    pdu.type !== 'm.room.member' && serverOfUser(pdu.sender) === serverOfUser(scope.user)
  const prevBatch = await placeBefore(events, room, { oldest, limited, isAfterGap, upTo, isOurs })
  return prevBatch === undefined ? { shown, limited } : { shown, limited, prevBatch }
}

/** Where a timeline ends towards the past. */
interface TimelineEnd {
  readonly oldest: StoredEvent | undefined
  readonly limited: boolean
  readonly isAfterGap: boolean
  readonly upTo: number
  /** Was it made by this server, on top of all that it had. */
  readonly isOurs: (event: StoredEvent) => boolean
}

/**
 * Where /messages goes on without losing anything. It goes by depth and the timeline by arrival: of the events that
 * were left out, the one that comes last in the history's order tells where. An event that was made here is deeper than
 * all that arrived before it, so that mostly a few are looked at; many in a row from a server that lagged behind are not
 * enough.
 */
async function placeBefore(
  events: Needs,
  room: RoomInterval['room'],
  { oldest, limited, isAfterGap, upTo, isOurs }: TimelineEnd,
): Promise<string | undefined> {
  if (!limited && oldest === undefined) return undefined
  // Beyond a gap the way back leads through what is not here yet.
  if ((!limited || isAfterGap) && oldest !== undefined) return tokenBefore(oldest)
  const end = (oldest?.position ?? upTo + 1) - 1
  const { events: left } = await events.timeline(room, { after: 0, upTo: end, limit: leftOutMax })
  const firstOurs = left.findLastIndex(isOurs)
  if (firstOurs === -1 && left.length === leftOutMax) {
    const { depth, arrival } = await events.historyPointAt(room, end)
    return formatHistoryToken({ depth, arrival: arrival - 1 })
  }
  const last = left
    .slice(Math.max(0, firstOurs))
    .reduce<StoredEvent | undefined>(
      (most, event) => (most !== undefined && isBefore(event, most) ? most : event),
      undefined,
    )
  if (last !== undefined) return tokenAfter(last)
  return oldest && tokenBefore(oldest)
}

function isBefore(a: StoredEvent, b: StoredEvent): boolean {
  if (a.pdu.depth !== b.pdu.depth) return a.pdu.depth < b.pdu.depth
  return (a.position ?? 0) < (b.position ?? 0)
}

function tokenBefore({ pdu, position = 0 }: StoredEvent): string {
  return formatHistoryToken({ depth: pdu.depth, arrival: position - 1 })
}

function tokenAfter({ pdu, position = 0 }: StoredEvent): string {
  return formatHistoryToken({ depth: pdu.depth, arrival: position })
}

/** Nothing is heard of ignored users but state. */
function isWanted({ event: { pdu } }: Seen, { ignored }: Pick<Scope, 'ignored'>): boolean {
  return pdu.stateKey !== undefined || !ignored.has(pdu.sender)
}

function isSelective(filter: NonNullable<Filter['room']>['timeline']): boolean {
  if (filter === undefined) return false
  const { types, not_types, senders, not_senders, contains_url } = filter
  const { related_by_senders, related_by_rel_types } = filter
  const related = [related_by_senders, related_by_rel_types]
  const own = [types, not_types, senders, not_senders, contains_url]
  return [...own, ...related].some((part) => part !== undefined)
}
