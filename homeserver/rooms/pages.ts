/** Pages of a room's history: /messages and /context. Visibility is decided event by event by the events slice. */
import { notFound } from '../../spec/errors.ts'
import type { EventId, RoomId, UserId } from '../../spec/ids.ts'
import { matchesEvent, parseRoomEventFilter, type RoomEventFilter } from '../../spec/sync/filter.ts'
import { formatHistoryToken, type HistoryToken, parseToken } from '../../spec/sync/token.ts'
import type { Events, Seen } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { Bundles } from './bundles.ts'
import type { ClientEvents } from './client-event.ts'
import { type Direction, type HistoryWalk, tokenAfter, tokenBefore } from './history-walk.ts'
import type { Rooms } from './rooms.ts'
import type { View, Viewing } from './viewing.ts'

interface Needs {
  readonly events: Events
  readonly viewing: Viewing
  readonly clientEvents: ClientEvents
  readonly bundles: Bundles
  readonly history: HistoryWalk
}

export function createPages(needs: Needs): Pick<Rooms, 'messages' | 'context'> {
  return { messages: pageReader(needs), context: contextReader(needs) }
}

/** The beginning of every history. */
const origin: HistoryToken = { depth: 0, arrival: -Number.MAX_SAFE_INTEGER }

function pageReader(needs: Needs): Rooms['messages'] {
  const { events, viewing, clientEvents, history, bundles } = needs

  /** The newest place that a viewer may look back from. */
  async function newest(room: RoomId, view: View): Promise<HistoryToken> {
    if (view.kind === 'left') return tokenAfter(view.at)
    const [last] = await events.history(room, { dir: 'b', limit: 1 })
    return last === undefined ? origin : tokenAfter(last)
  }

  async function tokenOf(
    room: RoomId,
    text: string | undefined,
    field: string,
  ): Promise<HistoryToken | undefined> {
    if (text === undefined) return undefined
    const token = parseToken(text, field)
    if (token.kind === 'history') return { depth: token.depth, arrival: token.arrival }
    // A point is an exclusive bound; a token stands just after an event.
    const { depth, arrival } = await events.historyPointAt(room, token.position)
    return { depth, arrival: arrival - 1 }
  }

  /** Who left sees nothing that came later, whichever tokens they have. */
  function within(
    view: View,
    dir: Direction,
    last: HistoryToken,
    range: { from: HistoryToken; to: HistoryToken | undefined },
  ) {
    if (view.kind === 'now') return range
    const { from, to } = range
    const end = dir === 'f' && (to === undefined || isBeyond(to, last)) ? last : to
    return { from: isBeyond(from, last) ? last : from, to: end }
  }

  /** Member events of the senders of a page, as lazy loading asks for them. */
  async function sendersOf(room: RoomId, view: View, list: readonly Seen[]) {
    const senders = new Set(list.map(({ event }) => event.pdu.sender))
    const members: StoredEvent[] = []
    for (const sender of senders) {
      const member = await viewing.entry(room, view, 'm.room.member', sender)
      if (member !== undefined) members.push(member)
    }
    return members
  }

  return async ({ user }, room, { from, to, dir, limit, filter: given }) => {
    const view = await viewing.requireView(user, room)
    const filter = given && parseRoomEventFilter(given)
    const last = await newest(room, view)
    const start = (await tokenOf(room, from, 'from')) ?? (dir === 'b' ? last : origin)
    const range = { from: start, to: await tokenOf(room, to, 'to') }
    const stretch = {
      ...within(view, dir, last, range),
      ...{ dir, limit: Math.min(limit, filter?.limit ?? limit) },
    }
    const { chunk: found, end } = await history.walk(user, room, stretch, filter)
    const chunk = await bundles.attach(user, found)
    const state = filter?.lazy_load_members === true ? await sendersOf(room, view, chunk) : []
    await clientEvents.preload([...chunk, ...state])
    return {
      start: from ?? formatHistoryToken(start),
      ...(end !== undefined && { end: formatHistoryToken(end) }),
      chunk,
      state,
    }
  }
}

function contextReader(needs: Needs): Rooms['context'] {
  const { events, viewing, clientEvents, history, bundles } = needs

  async function visible(user: UserId, room: RoomId, id: EventId): Promise<Seen> {
    const event = (await events.get([id])).get(id)
    const isHere = event?.pdu.roomId === room && event.position !== undefined
    const [seen] = isHere ? await events.visibleTo(user, [event]) : []
    if (seen === undefined) throw notFound('Event')
    return seen
  }

  /** The state at an event; with lazy loading only the members who wrote what is shown. */
  async function stateFor(
    at: StoredEvent,
    filter: RoomEventFilter | undefined,
    shown: readonly Seen[],
  ): Promise<readonly StoredEvent[]> {
    const all = [...(await events.stateAt(at.stateAfter ?? 0)).values()]
    const senders = new Set<string>(shown.map(({ event }) => event.pdu.sender))
    const isLazy = filter?.lazy_load_members === true
    return all.filter(({ pdu }) => {
      if (!matchesEvent(filter, pdu)) return false
      return !isLazy || pdu.type !== 'm.room.member' || senders.has(pdu.stateKey ?? '')
    })
  }

  return async ({ user }, room, id, limit, given) => {
    const view = await viewing.requireView(user, room)
    const filter = given && parseRoomEventFilter(given)
    const seen = await visible(user, room, id)
    const half = Math.floor(limit / 2)
    const older = { from: tokenBefore(seen.event), dir: 'b', limit: half } as const
    const newer = { from: tokenAfter(seen.event), dir: 'f', limit: limit - half } as const
    const to = view.kind === 'left' ? tokenAfter(view.at) : undefined
    const before = await history.walk(user, room, older, filter)
    const after = await history.walk(user, room, { ...newer, to }, filter)
    const found = [...before.chunk, seen, ...after.chunk]
    const shown = await bundles.attach(user, found)
    const at = before.chunk.length
    const state = await stateFor(after.chunk.at(-1)?.event ?? seen.event, filter, shown)
    await clientEvents.preload([...shown, ...state])
    return {
      event: shown[at] ?? seen,
      before: shown.slice(0, at),
      after: shown.slice(at + 1),
      state,
      start: formatHistoryToken(before.reached),
      end: formatHistoryToken(after.reached),
    }
  }
}

function isBeyond(a: HistoryToken, b: HistoryToken): boolean {
  return a.depth === b.depth ? a.arrival > b.arrival : a.depth > b.depth
}
