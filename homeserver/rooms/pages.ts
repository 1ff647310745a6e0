/** Pages of a room's history: /messages and /context. Visibility is decided event by event by the events slice. */
import { LRUCache } from 'lru-cache'
import { notFound } from '../../spec/errors.ts'
import { type EventId, isUserId, type RoomId, type ServerName } from '../../spec/ids.ts'
import { matchesEvent, parseRoomEventFilter, type RoomEventFilter } from '../../spec/sync/filter.ts'
import { formatHistoryToken, type HistoryToken, parseToken } from '../../spec/sync/token.ts'
import type { Events, Seen } from '../events/events.ts'
import type { HistoryPoint, StoredEvent } from '../events/stored-event.ts'
import type { Clock } from '../platform/clock.ts'
import type { ClientEvents } from './client-event.ts'
import type { Requester, Rooms } from './rooms.ts'
import type { View, Viewing } from './viewing.ts'

interface Needs {
  readonly serverName: ServerName
  readonly clock: Clock
  readonly events: Events
  readonly viewing: Viewing
  readonly clientEvents: ClientEvents
}

/** Events that one page looks at, however few of them it shows; the page then ends early and has a token to go on. */
const scannedMax = 2_000
/** Events that one read takes at least, for a filter may drop most. */
const readMin = 20
const backfillLimit = 100
/** A gap that nobody could fill is not tried again for so long, in ms. */
const gapRetryMs = 60_000
const gapsMax = 10_000

type Direction = 'f' | 'b'

/** Where a page ends: the token to go on with, absent at the end of the history. */
interface Walk {
  readonly chunk: readonly Seen[]
  readonly end: HistoryToken | undefined
  /** Where the last event looked at ends in this direction, or the start when there was none. */
  readonly reached: HistoryToken
}

export function createPages(needs: Needs): Pick<Rooms, 'messages' | 'context'> {
  const { serverName, clock, events, viewing, clientEvents } = needs
  const tried = new LRUCache<string, number>({ max: gapsMax })

  /** The newest place that a viewer may look back from. */
  async function newest(room: RoomId, view: View): Promise<HistoryToken> {
    if (view.kind === 'left') return tokenAfter(view.at)
    const { depth, arrival } = await events.historyPointAt(room, Number.MAX_SAFE_INTEGER)
    // An event of the greatest depth may have come before the newest one.
    const [last] = await events.history(room, { dir: 'b', limit: 1 })
    return last === undefined ? { depth, arrival: arrival - 1 } : tokenAfter(last)
  }

  async function tokenOf(room: RoomId, text: string, field: string): Promise<HistoryToken> {
    const token = parseToken(text, field)
    if (token.kind === 'history') return { depth: token.depth, arrival: token.arrival }
    const { depth, arrival } = await events.historyPointAt(room, token.position)
    return { depth, arrival: arrival - 1 }
  }

  async function read(
    room: RoomId,
    from: HistoryToken,
    to: HistoryToken | undefined,
    dir: Direction,
    limit: number,
  ): Promise<readonly StoredEvent[]> {
    const range = { from: pointOf(from, dir), dir, limit }
    const end = to && pointOf(to, dir === 'b' ? 'f' : 'b')
    const found = await events.history(room, end === undefined ? range : { ...range, to: end })
    if (dir === 'f' || !(await fillGap(room, from, found, limit))) return found
    return await events.history(room, end === undefined ? range : { ...range, to: end })
  }

  /** Fetches what is missing of a page; false when nothing is, or nobody has it. */
  async function fillGap(
    room: RoomId,
    from: HistoryToken,
    found: readonly StoredEvent[],
    limit: number,
  ): Promise<boolean> {
    const gap = await gapIn(room, found)
    if (gap === undefined && (found.length >= limit || reachesCreate(found))) return false
    const servers = await events.serversIn(room)
    if (servers.size - (servers.has(serverName) ? 1 : 0) === 0) return false
    const start = gap === undefined ? from : tokenAfter(gap)
    const name = `${room} ${start.depth}`
    if ((tried.get(name) ?? 0) > clock.now()) return false
    const count = await events.backfill(room, pointOf(start, 'b'), backfillLimit)
    if (count === 0) tried.set(name, clock.now() + gapRetryMs)
    return count > 0
  }

  /** The newest event of a page with a predecessor that is not here. */
  async function gapIn(
    room: RoomId,
    found: readonly StoredEvent[],
  ): Promise<StoredEvent | undefined> {
    const here = new Set(found.map(({ pdu }) => pdu.eventId))
    const outside = new Set<EventId>()
    for (const { pdu } of found) {
      for (const id of pdu.prevEvents) if (!here.has(id)) outside.add(id)
    }
    if (outside.size === 0) return undefined
    const stored = await events.get([...outside])
    const isMissing = (id: EventId) => outside.has(id) && stored.get(id)?.stateAfter === undefined
    return found.find(({ pdu }) => pdu.roomId === room && pdu.prevEvents.some(isMissing))
  }

  /** Goes on until the page is full, nothing is left, or enough was looked at. */
  async function walk(
    who: Requester,
    room: RoomId,
    range: { from: HistoryToken; to?: HistoryToken | undefined; dir: Direction; limit: number },
    filter: RoomEventFilter | undefined,
  ): Promise<Walk> {
    const { dir, limit, to } = range
    const chunk: Seen[] = []
    let reached = range.from
    if (limit === 0) return { chunk, end: reached, reached }
    for (let scanned = 0; scanned < scannedMax; ) {
      const wanted = Math.max(readMin, limit - chunk.length)
      const found = await read(room, reached, to, dir, wanted)
      scanned += found.length
      const passing = found.filter(({ pdu }) => matchesEvent(filter, pdu))
      for (const seen of await events.visibleTo(who.user, passing)) {
        chunk.push(seen)
        if (chunk.length < limit) continue
        reached = dir === 'b' ? tokenBefore(seen.event) : tokenAfter(seen.event)
        return { chunk, end: reached, reached }
      }
      const last = found.at(-1)
      if (last !== undefined) reached = dir === 'b' ? tokenBefore(last) : tokenAfter(last)
      if (found.length < wanted) return { chunk, end: undefined, reached }
    }
    return { chunk, end: reached, reached }
  }

  /** Member events of the senders of a page, as lazy loading asks for them. */
  async function sendersOf(
    room: RoomId,
    view: View,
    list: readonly Seen[],
  ): Promise<StoredEvent[]> {
    const senders = new Set(list.map(({ event }) => event.pdu.sender))
    const members: StoredEvent[] = []
    for (const sender of senders) {
      const member = await viewing.entry(room, view, 'm.room.member', sender)
      if (member !== undefined) members.push(member)
    }
    return members
  }

  return {
    async messages(who, room, { from, to, dir, limit, filter: given }) {
      const view = await viewing.requireView(who.user, room)
      const filter = given && parseRoomEventFilter(given)
      const last = await newest(room, view)
      const asked = from === undefined ? undefined : await tokenOf(room, from, 'from')
      const start = asked ?? (dir === 'b' ? last : origin)
      const until = to === undefined ? undefined : await tokenOf(room, to, 'to')
      const isLeft = view.kind === 'left'
      const range = {
        // Who left sees nothing that came later, whichever token they have.
        from: isLeft && isBeyond(start, last) ? last : start,
        to: isLeft && dir === 'f' && (until === undefined || isBeyond(until, last)) ? last : until,
        ...{ dir, limit: Math.min(limit, filter?.limit ?? limit) },
      }
      const { chunk, end } = await walk(who, room, range, filter)
      const state = filter?.lazy_load_members === true ? await sendersOf(room, view, chunk) : []
      await clientEvents.preload([...chunk, ...state])
      return {
        start: from ?? formatHistoryToken(start),
        ...(end !== undefined && { end: formatHistoryToken(end) }),
        chunk,
        state,
      }
    },
    async context(who, room, id, limit, given) {
      const view = await viewing.requireView(who.user, room)
      const filter = given && parseRoomEventFilter(given)
      const event = (await events.get([id])).get(id)
      const isHere = event?.pdu.roomId === room && event.position !== undefined
      const [seen] = isHere ? await events.visibleTo(who.user, [event]) : []
      if (seen === undefined) throw notFound('Event')
      const half = Math.floor(limit / 2)
      const place = seen.event
      const before = await walk(
        ...([who, room, { from: tokenBefore(place), dir: 'b', limit: half }, filter] as const),
      )
      const to = view.kind === 'left' ? tokenAfter(view.at) : undefined
      const after = await walk(
        ...([
          who,
          room,
          { from: tokenAfter(place), to, dir: 'f', limit: limit - half },
          filter,
        ] as const),
      )
      const state = await stateFor(room, after.chunk.at(-1)?.event ?? place, filter, [
        ...before.chunk,
        seen,
        ...after.chunk,
      ])
      await clientEvents.preload([...before.chunk, seen, ...after.chunk, ...state])
      return {
        event: seen,
        before: before.chunk,
        after: after.chunk,
        state,
        start: formatHistoryToken(before.reached),
        end: formatHistoryToken(after.reached),
      }
    },
  }

  /** The state at an event; with lazy loading only the members who wrote what is shown. */
  async function stateFor(
    room: RoomId,
    at: StoredEvent,
    filter: RoomEventFilter | undefined,
    shown: readonly Seen[],
  ): Promise<readonly StoredEvent[]> {
    const all = [...(await events.stateAt(at.stateAfter ?? 0)).values()]
    const senders = new Set<string>(shown.map(({ event }) => event.pdu.sender))
    const isLazy = filter?.lazy_load_members === true
    return all.filter(({ pdu }) => {
      if (pdu.roomId !== room || !matchesEvent(filter, pdu)) return false
      const isMember = pdu.type === 'm.room.member' && isUserId(pdu.stateKey)
      return !isLazy || !isMember || senders.has(pdu.stateKey ?? '')
    })
  }
}

/** The beginning of every history. */
const origin: HistoryToken = { depth: 0, arrival: -Number.MAX_SAFE_INTEGER }

/** Bounds of a read are exclusive; a token stands just after the event that it names. */
function pointOf({ depth, arrival }: HistoryToken, dir: Direction): HistoryPoint {
  return { depth, arrival: dir === 'b' ? arrival + 1 : arrival }
}

function tokenAfter({ pdu, position }: StoredEvent): HistoryToken {
  return { depth: pdu.depth, arrival: position ?? 0 }
}

function tokenBefore({ pdu, position }: StoredEvent): HistoryToken {
  return { depth: pdu.depth, arrival: (position ?? 0) - 1 }
}

function isBeyond(a: HistoryToken, b: HistoryToken): boolean {
  return a.depth === b.depth ? a.arrival > b.arrival : a.depth > b.depth
}

function reachesCreate(found: readonly StoredEvent[]): boolean {
  return found.at(-1)?.pdu.type === 'm.room.create'
}
