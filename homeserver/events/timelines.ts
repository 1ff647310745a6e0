/**
 * Which the newest live events of each room are, in memory: what syncs and federation read all the time. The events
 * themselves are the store's to keep. Older ranges come from the table.
 */
import { LRUCache } from 'lru-cache'
import type { RoomId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import { atMost } from '../platform/cache.ts'
import type { Tail } from '../stream/log.ts'
import { isCompletion } from './partial-rooms.ts'
import { isPurge } from './purged.ts'
import { liveEvents, liveNumbers, timelineGaps } from './queries.ts'
import { isEventPayload } from './room-views.ts'
import type { EventStore } from './store.ts'
import type { StoredEvent } from './stored-event.ts'

/** Events kept of one room, rooms kept, and gaps known of one room, the newest. */
const perRoomMax = 100
const roomsMax = 5_000
const gapsMax = 100

/** Number and position of an event. */
interface Place {
  readonly nr: number
  readonly position: number
}

interface Window {
  /** Every live event after this position is in `events`. */
  after: number
  /** Oldest first. */
  events: Place[]
  /** Positions at which the timeline begins anew; rising. */
  gaps: number[]
}

export interface TimelineRange {
  readonly after: number
  readonly upTo: number
  readonly limit: number
}

export interface Timeline {
  readonly events: readonly StoredEvent[]
  readonly limited: boolean
  /** What comes before the oldest event is not here. */
  readonly isAfterGap?: boolean
}

export interface Timelines {
  read(room: RoomId, range: TimelineRange): Promise<Timeline>
}

export function createTimelines(needs: {
  readonly db: Database
  readonly tail: Pick<Tail, 'subscribe' | 'position'>
  readonly store: EventStore
}): Timelines {
  const { db, tail, store } = needs
  const windows = new LRUCache<RoomId, Window>({ ...atMost(roomsMax) })
  const opening = new Map<RoomId, Promise<Window>>()

  tail.subscribe('timelines', (rows) => {
    for (const row of rows) {
      const { kind, room, payload } = row
      if (room !== undefined && (isPurge(row) || isCompletion(row))) windows.delete(room)
      if (kind !== 'event' || room === undefined || !isEventPayload(payload)) continue
      const window = windows.get(room)
      if (window === undefined) continue
      window.events.push({ nr: payload.event.nr, position: row.position })
      if (payload.isAfterGap) window.gaps.push(row.position)
      if (window.events.length > perRoomMax * 2) shorten(window)
    }
  })

  function fromMemory(window: Window, range: TimelineRange): Cut<Place> | undefined {
    let end = window.events.length
    while (end > 0 && (window.events[end - 1]?.position ?? 0) > range.upTo) end--
    let start = end
    while (
      start > 0 &&
      end - start <= range.limit &&
      (window.events[start - 1]?.position ?? 0) > range.after
    )
      start--
    const isComplete = range.after >= window.after || end - start > range.limit
    return isComplete ? cut(window.events.slice(start, end), range.limit) : undefined
  }

  /** The events of places, from memory if they are all there. */
  async function eventsAt(places: readonly Place[]): Promise<readonly StoredEvent[]> {
    const found = places.flatMap(({ nr }) => store.peekNumber(nr) ?? [])
    if (found.length === places.length) return found
    const read = await store.byNumber(places.map(({ nr }) => nr))
    return places.flatMap(({ nr }) => read.get(nr) ?? [])
  }

  async function fromTable(room: RoomId, range: TimelineRange): Promise<Timeline> {
    const rows = await liveEvents(db, room, { ...range, limit: range.limit + 1 })
    return cut(store.read(rows).reverse(), range.limit)
  }

  function open(room: RoomId): Promise<Window> {
    const window = load(room).finally(() => opening.delete(room))
    opening.set(room, window)
    return window
  }

  /** Begins a window at the newest events; what the tail brings during the load is put behind them. */
  async function load(room: RoomId): Promise<Window> {
    const window: Window = { after: tail.position, events: [], gaps: [] }
    windows.set(room, window)
    const begun = window.after
    const [rows, gaps] = await Promise.all([
      liveNumbers(db, room, begun, perRoomMax),
      timelineGaps(db, room, begun, gapsMax),
    ])
    const older = rows.reverse()
    window.gaps.unshift(...gaps)
    if (windows.peek(room) === window && window.after === begun) {
      window.events.unshift(...older)
      window.after = older.length < perRoomMax ? 0 : (older[0]?.position ?? begun) - 1
    }
    return window
  }

  return {
    async read(room, asked) {
      const window = await (opening.get(room) ?? windows.get(room) ?? open(room))
      const gap = window.gaps.findLast((position) => position <= asked.upTo)
      const isCut = gap !== undefined && gap > asked.after
      const range = isCut ? { ...asked, after: gap - 1 } : asked
      const places = fromMemory(window, range)
      const found =
        places === undefined
          ? await fromTable(room, range)
          : { events: await eventsAt(places.events), limited: places.limited }
      return isCut && !found.limited ? { ...found, limited: true, isAfterGap: true } : found
    },
  }
}

function shorten(window: Window): void {
  const dropped = window.events.splice(0, window.events.length - perRoomMax)
  window.after = dropped.at(-1)?.position ?? window.after
  window.gaps.splice(0, window.gaps.length - gapsMax)
}

interface Cut<E> {
  readonly events: readonly E[]
  readonly limited: boolean
}

/** The newest `limit` of a range that was read one further. */
function cut<E>(events: readonly E[], limit: number): Cut<E> {
  const limited = events.length > limit
  return { events: limited ? events.slice(events.length - limit) : events, limited }
}
