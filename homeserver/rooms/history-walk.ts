/** Walks a room's history for a viewer until a page is full, fetching from other servers what is missing here. */
import { LRUCache } from 'lru-cache'
import type { EventId, RoomId, ServerName, UserId } from '../../spec/ids.ts'
import type { RoomEventFilter } from '../../spec/sync/filter.ts'
import type { HistoryToken } from '../../spec/sync/token.ts'
import type { Events, Seen } from '../events/events.ts'
import type { HistoryPoint, StoredEvent } from '../events/stored-event.ts'
import { atMost } from '../platform/cache.ts'
import type { Clock } from '../platform/clock.ts'
import { passingEvents } from './passing.ts'

export type Direction = 'f' | 'b'

/** What to read. */
export interface Stretch {
  readonly from: HistoryToken
  readonly to?: HistoryToken | undefined
  readonly dir: Direction
  readonly limit: number
}

/** A page, and where it ends. */
export interface Walk {
  readonly chunk: readonly Seen[]
  /** Where to go on; absent at the end of the history. */
  readonly end: HistoryToken | undefined
  /** How far was looked, also when nothing is left. */
  readonly reached: HistoryToken
}

export interface HistoryWalk {
  walk(
    user: UserId,
    room: RoomId,
    stretch: Stretch,
    filter: RoomEventFilter | undefined,
  ): Promise<Walk>
}

interface Needs {
  readonly serverName: ServerName
  readonly clock: Clock
  readonly events: Pick<
    Events,
    'get' | 'history' | 'backfill' | 'serversIn' | 'visibleTo' | 'relations'
  >
}

/** Events that one page looks at, however few of them it shows; the page then ends early and has a token to go on. */
const scannedMax = 2_000
/** Events that one read takes at least, for a filter may drop most. */
const readMin = 20
const backfillLimit = 100
/** A gap that nobody could fill is not tried again for so long, in ms. */
const gapRetryMs = 60_000
const gapsMax = 10_000

export function createHistoryWalk(needs: Needs): HistoryWalk {
  const { events } = needs
  const gaps = createGapFilling(needs)

  async function read(room: RoomId, { from, to, dir, limit }: Stretch) {
    const range = {
      ...{ from: pointOf(from, dir), dir, limit },
      ...(to !== undefined && { to: pointOf(to, dir === 'b' ? 'f' : 'b') }),
    }
    const found = await events.history(room, range)
    if (dir === 'f' || !(await gaps.fill(room, from, found, limit))) return found
    return await events.history(room, range)
  }

  return {
    async walk(user, room, stretch, filter) {
      const { dir, limit } = stretch
      const chunk: Seen[] = []
      let reached = stretch.from
      if (limit === 0) return { chunk, end: reached, reached }
      for (let scanned = 0; scanned < scannedMax; ) {
        const wanted = Math.max(readMin, limit - chunk.length)
        const found = await read(room, { ...stretch, from: reached, limit: wanted })
        scanned += found.length
        const passing = await passingEvents(events, filter, found)
        for (const seen of await events.visibleTo(user, passing)) {
          chunk.push(seen)
          if (chunk.length < limit) continue
          reached = beyond(seen.event, dir)
          return { chunk, end: reached, reached }
        }
        const last = found.at(-1)
        if (last !== undefined) reached = beyond(last, dir)
        if (found.length < wanted) return { chunk, end: undefined, reached }
      }
      return { chunk, end: reached, reached }
    },
  }
}

function createGapFilling({ serverName, clock, events }: Needs) {
  const tried = new LRUCache<string, number>({ ...atMost(gapsMax) })

  /** The newest event of a page with a predecessor that is not here. */
  async function gapIn(found: readonly StoredEvent[]): Promise<StoredEvent | undefined> {
    const here = new Set(found.map(({ pdu }) => pdu.eventId))
    const outside = new Set<EventId>()
    for (const { pdu } of found) {
      for (const id of pdu.prevEvents) if (!here.has(id)) outside.add(id)
    }
    if (outside.size === 0) return undefined
    const stored = await events.get([...outside])
    const isMissing = (id: EventId) => outside.has(id) && stored.get(id)?.stateAfter === undefined
    return found.find(({ pdu }) => pdu.prevEvents.some(isMissing))
  }

  async function hasOthers(room: RoomId): Promise<boolean> {
    const servers = await events.serversIn(room)
    return servers.size > (servers.has(serverName) ? 1 : 0)
  }

  return {
    /** Fetches what is missing of a page that was read; false when nothing is, or nobody has it. */
    async fill(
      room: RoomId,
      from: HistoryToken,
      found: readonly StoredEvent[],
      limit: number,
    ): Promise<boolean> {
      if (!(await hasOthers(room))) return false
      // A gap may also lie right before the event after which the page begins.
      const next = await events.history(room, { from: pointOf(from, 'f'), dir: 'f', limit: 1 })
      const gap = await gapIn([...next, ...found])
      const isWhole = found.length >= limit || found.at(-1)?.pdu.type === 'm.room.create'
      if (gap === undefined && isWhole) return false
      const start = gap === undefined ? from : tokenAfter(gap)
      const name = `${room} ${start.depth}`
      if ((tried.get(name) ?? 0) > clock.now()) return false
      const count = await events.backfill(room, pointOf(start, 'b'), backfillLimit)
      if (count === 0) tried.set(name, clock.now() + gapRetryMs)
      return count > 0
    },
  }
}

/** Bounds of a read are exclusive; a token stands just after the event that it names. */
export function pointOf({ depth, arrival }: HistoryToken, dir: Direction): HistoryPoint {
  return { depth, arrival: dir === 'b' ? arrival + 1 : arrival }
}

/** The place after an event, seen forwards. */
export function tokenAfter({ pdu, position }: StoredEvent): HistoryToken {
  return { depth: pdu.depth, arrival: position ?? 0 }
}

/** The place before an event, seen forwards. */
export function tokenBefore({ pdu, position }: StoredEvent): HistoryToken {
  return { depth: pdu.depth, arrival: (position ?? 0) - 1 }
}

function beyond(event: StoredEvent, dir: Direction): HistoryToken {
  return dir === 'b' ? tokenBefore(event) : tokenAfter(event)
}
