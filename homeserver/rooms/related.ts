/** Pages of what relates to an event, and of the threads of a room. */
import { notFound } from '../../spec/errors.ts'
import type { Pdu } from '../../spec/events/event.ts'
import type { EventId, RoomId, UserId } from '../../spec/ids.ts'
import { redactContent } from '../../spec/room/redact.ts'
import { relationOf } from '../../spec/room/relation.ts'
import { formatHistoryToken, type HistoryToken, parseToken } from '../../spec/sync/token.ts'
import type { Events, Seen } from '../events/events.ts'
import { type RelatedQuery, recursionDepth } from '../events/relations.ts'
import type { HistoryPoint, StoredEvent } from '../events/stored-event.ts'
import type { Thread } from '../events/thread-list.ts'
import { type Bundles, isInPlace } from './bundles.ts'
import type { ClientEvents } from './client-event.ts'
import { type Direction, pointOf, tokenAfter, tokenBefore } from './history-walk.ts'
import type { Requester } from './rooms.ts'
import type { View, Viewing } from './viewing.ts'

export interface RelatedRequest
  extends Pick<RelatedQuery, 'relType' | 'eventType' | 'recurse' | 'dir' | 'limit'> {
  /** Tokens of any kind. */
  readonly from?: string
  readonly to?: string
}

export interface RelatedPage {
  readonly chunk: readonly Seen[]
  /** Where to go on; absent at the end. */
  readonly next?: string
  /** How far was looked; absent when only direct relations were asked for. */
  readonly recursionDepth?: number
}

export interface ThreadsRequest {
  /** Only those in which the requester said something, or whose first event is theirs. */
  readonly participated: boolean
  readonly from?: string
  readonly limit: number
}

export interface Related {
  /**
   * What relates to an event, in the order of the room's history.
   * {@link https://spec.matrix.org/v1.19/client-server-api/#relationships-api}
   * @throws MatrixError M_NOT_FOUND for an event that the requester may not see, M_FORBIDDEN for those outside of the room
   */
  related(
    who: Requester,
    room: RoomId,
    event: EventId,
    request: RelatedRequest,
  ): Promise<RelatedPage>
  /**
   * The events with which threads begin, by the newest event in each.
   * {@link https://spec.matrix.org/v1.19/client-server-api/#querying-threads-in-a-room}
   */
  threads(
    who: Requester,
    room: RoomId,
    request: ThreadsRequest,
  ): Promise<Pick<RelatedPage, 'chunk' | 'next'>>
  /** Puts with events what relates to them, as answers show it to a user. */
  withRelations(user: UserId, list: readonly Seen[]): Promise<readonly Seen[]>
}

interface Needs {
  readonly events: Pick<Events, 'get' | 'visibleTo' | 'historyPointAt' | 'relations' | 'rulesOf'>
  readonly viewing: Viewing
  readonly clientEvents: ClientEvents
  readonly bundles: Bundles
  readonly ignoredUsers?: ((user: UserId) => Promise<ReadonlySet<UserId>>) | undefined
}

/** Threads that are looked at for one page, however few of them it shows; the page then ends early. */
const threadsScannedMax = 500
/** Threads that one read takes at least, for some may not be shown. */
const readMin = 20
const nobody: ReadonlySet<UserId> = new Set()

export function createRelated(needs: Needs): Related {
  const { bundles } = needs
  return {
    related: relatedReader(needs),
    threads: threadsReader(needs),
    withRelations: (user, list) => bundles.attach(user, list),
  }
}

function relatedReader(needs: Needs): Related['related'] {
  const { events, viewing } = needs

  async function requireVisible(user: UserId, room: RoomId, id: EventId): Promise<StoredEvent> {
    const event = (await events.get([id])).get(id)
    if (event?.pdu.roomId !== room || !isInPlace(event)) throw notFound('Event')
    if ((await events.visibleTo(user, [event])).length === 0) throw notFound('Event')
    return event
  }

  return async ({ user }, room, id, request) => {
    const view = await viewing.requireView(user, room)
    const target = await requireVisible(user, room, id)
    const { from: fromToken, to: toToken, ...kind } = request
    const { dir, limit, recurse } = kind
    const from = await boundOf(needs, room, fromToken, 'from', dir)
    const to = await boundOf(needs, room, toToken, 'to', dir === 'b' ? 'f' : 'b')
    const bounds = within(view, { ...(from && { from }), ...(to && { to }) }, dir)
    const query = { ...kind, ...bounds, limit: limit + 1 }
    const found = limit === 0 ? [] : await events.relations.related(room, id, query)
    const page = found.slice(0, limit)
    // An edit would show what was redacted.
    const isShown = ({ pdu }: StoredEvent) => target.redactedBy === undefined || !isEdit(pdu)
    const shown = page.filter((event) => isInPlace(event) && isShown(event))
    const last = found.length > limit ? page.at(-1) : undefined
    return {
      chunk: await finish(needs, user, await events.visibleTo(user, shown)),
      ...(last !== undefined && { next: formatHistoryToken(beyond(last, dir)) }),
      ...(recurse && { recursionDepth }),
    }
  }
}

function threadsReader(needs: Needs): Related['threads'] {
  const { events, viewing, ignoredUsers } = needs

  /** Threads in which a user said something, or whose first event is theirs. */
  async function withPartOf(user: UserId, threads: readonly Thread[]): Promise<readonly Thread[]> {
    const sums = await events.relations.aggregates(threads.map(({ root }) => root))
    return threads.filter(({ root: { pdu } }) => {
      const counts = sums.get(pdu.eventId)?.thread?.counts
      return pdu.sender === user || counts?.has(user) === true
    })
  }

  /** The first events of threads that a user may see; those of ignored users as if they were redacted. */
  async function visibleRoots(user: UserId, room: RoomId, threads: readonly Thread[]) {
    const ignored = (await ignoredUsers?.(user)) ?? nobody
    const rules = await events.rulesOf(room)
    // What would hide an event for its sender is decided here.
    const asked = threads.map(({ root }) =>
      ignored.has(root.pdu.sender) ? { ...root, pdu: { ...root.pdu, sender: user } } : root,
    )
    const visible = await events.visibleTo(user, asked)
    const seen = new Map(visible.map((one) => [one.event.pdu.eventId, one]))
    return threads.flatMap(({ root, place }) => {
      const one = seen.get(root.pdu.eventId)
      if (one === undefined) return []
      if (!ignored.has(root.pdu.sender)) return [{ seen: one, place }]
      const { pdu } = root
      const content = rules === undefined ? {} : redactContent(pdu.type, pdu.content, rules)
      return [{ seen: { ...one, event: { ...root, pdu: { ...pdu, content } } }, place }]
    })
  }

  return async ({ user }, room, { participated, from, limit }) => {
    await viewing.requireView(user, room)
    const seen: Seen[] = []
    let before = await boundOf(needs, room, from, 'from', 'b')
    for (let scanned = 0; seen.length < limit && scanned < threadsScannedMax; ) {
      const free = limit - seen.length
      const size = Math.max(free + 1, readMin)
      const { found, next } = await events.relations.threads(room, before, size)
      scanned += size
      const wanted = participated ? await withPartOf(user, found) : found
      const shown = await visibleRoots(user, room, wanted)
      const taken = shown.slice(0, free)
      seen.push(...taken.map((one) => one.seen))
      before = taken.length < shown.length ? taken.at(-1)?.place : next
      if (before === undefined) break
    }
    const chunk = await finish(needs, user, seen)
    if (before === undefined || limit === 0) return { chunk }
    const { depth, arrival } = before
    return { chunk, next: formatHistoryToken({ depth, arrival: arrival - 1 }) }
  }
}

async function finish(
  { bundles, clientEvents }: Needs,
  user: UserId,
  seen: readonly Seen[],
): Promise<readonly Seen[]> {
  const chunk = await bundles.attach(user, seen)
  await clientEvents.preload(chunk)
  return chunk
}

/** The exclusive bound that a token is for a read in a direction; `field` names the parameter. */
async function boundOf(
  { events }: Needs,
  room: RoomId,
  text: string | undefined,
  field: string,
  dir: Direction,
): Promise<HistoryPoint | undefined> {
  if (text === undefined) return undefined
  const token = parseToken(text, field)
  if (token.kind === 'history') return pointOf(token, dir)
  const { depth, arrival } = await events.historyPointAt(room, token.position)
  return pointOf({ depth, arrival: arrival - 1 }, dir)
}

/** Who left sees nothing that came later. */
function within(
  view: View,
  bounds: { readonly from?: HistoryPoint; readonly to?: HistoryPoint },
  dir: Direction,
) {
  if (view.kind === 'now') return bounds
  const last = pointOf(tokenAfter(view.at), 'b')
  const upper = dir === 'b' ? bounds.from : bounds.to
  if (upper !== undefined && isBefore(upper, last)) return bounds
  return dir === 'b' ? { ...bounds, from: last } : { ...bounds, to: last }
}

/** The place beyond an event, from which a page goes on. */
function beyond(event: StoredEvent, dir: Direction): HistoryToken {
  return dir === 'b' ? tokenBefore(event) : tokenAfter(event)
}

function isEdit(pdu: Pdu): boolean {
  return relationOf(pdu)?.relType === 'm.replace'
}

function isBefore(a: HistoryPoint, b: HistoryPoint): boolean {
  return a.depth === b.depth ? a.arrival < b.arrival : a.depth < b.depth
}
