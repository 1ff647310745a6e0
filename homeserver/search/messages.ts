/** The search for events. {@link https://spec.matrix.org/v1.19/client-server-api/#server-side-search} */
import type { EventId, RoomId, UserId } from '../../spec/ids.ts'
import { isRoomId, isUserId } from '../../spec/ids.ts'
import { stringAt } from '../../spec/json.ts'
import { matchesEvent, matchesRoom, type RoomEventFilter } from '../../spec/sync/filter.ts'
import { formatHistoryToken } from '../../spec/sync/token.ts'
import type { Database } from '../database/database.ts'
import type { Events, Seen } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import { tokenAfter, tokenBefore } from '../rooms/history-walk.ts'
import type { Memberships, Requester, Rooms } from '../rooms/rooms.ts'
import type { Indexer } from './indexer.ts'
import { formatPlace, parsePlace, type SearchPlace } from './place.ts'
import { countTexts, findTexts, type Place, type TextQuery, type TextRow } from './queries.ts'
import { type SearchedKey, searchedKeys } from './texts.ts'

export type GroupKey = 'room_id' | 'sender'

export interface MessageSearch {
  readonly term: string
  readonly keys: readonly SearchedKey[]
  readonly filter: RoomEventFilter
  readonly order: 'rank' | 'recent'
  /** What stands around each result; absent when it is not wanted. */
  readonly context?: { before: number; after: number; withProfiles: boolean }
  readonly withState: boolean
  readonly groupBy: readonly GroupKey[]
  readonly nextBatch?: string
}

export interface FoundContext {
  readonly start: string
  readonly end: string
  readonly before: readonly Seen[]
  readonly after: readonly Seen[]
  readonly profiles?: Readonly<Record<string, { displayname?: string; avatar_url?: string }>>
}

export interface FoundMessages {
  readonly count: number
  readonly highlights: readonly string[]
  readonly results: readonly { rank: number; result: Seen; context?: FoundContext }[]
  readonly state: ReadonlyMap<RoomId, readonly StoredEvent[]>
  readonly groups: ReadonlyMap<GroupKey, ReadonlyMap<string, FoundGroup>>
  readonly nextBatch?: string
}

interface FoundGroup {
  readonly order: number
  readonly results: readonly EventId[]
  readonly nextBatch?: string
}

interface Needs {
  readonly db: Database
  readonly indexer: Pick<Indexer, 'catchUp'>
  readonly events: Pick<Events, 'get' | 'visibleTo' | 'stateEntry'>
  readonly memberships: Pick<Memberships, 'ofUser'>
  readonly rooms: Pick<Rooms, 'messages' | 'state'> & {
    preload(events: readonly (StoredEvent | Seen)[]): Promise<void>
  }
}

/** Results of a page and of one unless the client says how many; matches looked at, and counted. */
const pageMax = 100
const pageDefault = 10
const lookedAtMax = 500
const batchSize = 100
const countMax = 10_000

interface Hit {
  readonly row: TextRow
  readonly seen: Seen
}

export function createMessageSearch(needs: Needs) {
  const { db, indexer, events, memberships, rooms } = needs

  /** Rooms that the user is in, or was in; with where they left. */
  async function roomsOf(user: UserId, filter: RoomEventFilter): Promise<Map<RoomId, number>> {
    const found = new Map<RoomId, number>()
    for (const { room, membership, position, forgotten } of (
      await memberships.ofUser(user)
    ).values()) {
      if (!matchesRoom(filter, room)) continue
      if (membership === 'join') found.set(room, Number.POSITIVE_INFINITY)
      const hasLeft = membership === 'leave' || membership === 'ban'
      if (hasLeft && !forgotten) found.set(room, position)
    }
    return found
  }

  async function visible(user: UserId, rows: readonly TextRow[], until: Map<RoomId, number>) {
    const stored = await events.get(rows.map(({ event_id: id }) => id))
    const there = rows.flatMap(({ event_id: id, room_id: room }) => {
      const event = stored.get(id)
      if (event?.position === undefined || event.redactedBy !== undefined) return []
      return event.position <= (until.get(room) ?? 0) ? [event] : []
    })
    const seen = new Map(
      (await events.visibleTo(user, there)).map((one) => [one.event.pdu.eventId, one]),
    )
    return rows.flatMap((row): Hit[] => {
      const one = seen.get(row.event_id)
      return one === undefined ? [] : [{ row, seen: one }]
    })
  }

  /** Visible matches in order, until there are enough; and where it was looked last. */
  async function look(user: UserId, query: TextQuery, until: Map<RoomId, number>, enough: number) {
    const hits: Hit[] = []
    let after: Place | undefined = query.after
    for (let looked = 0; looked < lookedAtMax && hits.length < enough; ) {
      const rows = await findTexts(db, { ...query, after, limit: batchSize })
      hits.push(...(await visible(user, rows, until)))
      looked += rows.length
      after = rows.at(-1) ?? after
      if (rows.length < batchSize) return { hits, looked, isAll: true, after }
    }
    return { hits, looked: lookedAtMax, isAll: false, after }
  }

  async function contextOf(
    who: Requester,
    { event }: Seen,
    wanted: NonNullable<MessageSearch['context']>,
  ): Promise<FoundContext> {
    const room = event.pdu.roomId
    const read = async (dir: 'b' | 'f', limit: number) => {
      const from = formatHistoryToken(dir === 'b' ? tokenBefore(event) : tokenAfter(event))
      if (limit === 0) return { chunk: [], end: from }
      const { chunk, end } = await rooms.messages(who, room, { from, dir, limit })
      const last = chunk.at(-1)?.event
      const reached = last && (dir === 'b' ? tokenBefore(last) : tokenAfter(last))
      return { chunk, end: end ?? (reached ? formatHistoryToken(reached) : from) }
    }
    const before = await read('b', wanted.before)
    const after = await read('f', wanted.after)
    const all = [event, ...[...before.chunk, ...after.chunk].map((one) => one.event)]
    return {
      ...{ start: before.end, end: after.end, before: before.chunk, after: after.chunk },
      ...(wanted.withProfiles && { profiles: await profilesAt(event, all) }),
    }
  }

  /** How the senders were called when the result was sent. */
  async function profilesAt({ stateBefore }: StoredEvent, shown: readonly StoredEvent[]) {
    const profiles: Record<string, { displayname?: string; avatar_url?: string }> = {}
    for (const sender of new Set(shown.map(({ pdu }) => pdu.sender))) {
      const member = await events.stateEntry(stateBefore ?? 0, 'm.room.member', sender)
      const displayname = member && stringAt(member.pdu.content, 'displayname')
      const avatar = member && stringAt(member.pdu.content, 'avatar_url')
      profiles[sender] = {
        ...(displayname !== undefined && { displayname }),
        ...(avatar !== undefined && { avatar_url: avatar }),
      }
    }
    return profiles
  }

  return async (who: Requester, search: MessageSearch): Promise<FoundMessages> => {
    await indexer.catchUp()
    const place = search.nextBatch === undefined ? undefined : parsePlace(search.nextBatch)
    const until = await roomsOf(who.user, search.filter)
    const query = queryOf(search, place, [...until.keys()])
    const limit = Math.min(search.filter.limit ?? pageDefault, pageMax)
    const enough = place === undefined ? lookedAtMax : limit
    const found = await look(who.user, query, until, enough)
    const count = place?.count ?? (await countOf(query, found))
    const page = found.hits.slice(0, limit)
    const results = []
    for (const { row, seen } of page) {
      const context = search.context && (await contextOf(who, seen, search.context))
      results.push({ rank: row.rank, result: seen, ...(context && { context }) })
    }
    await rooms.preload(page.map(({ seen }) => seen))
    const state = new Map<RoomId, readonly StoredEvent[]>()
    for (const { row } of search.withState ? page : []) {
      if (!state.has(row.room_id)) state.set(row.room_id, await rooms.state(who, row.room_id))
    }
    const isFull = limit > 0 && page.length >= limit
    const last = isFull ? page.at(-1)?.row : found.isAll ? undefined : found.after
    const group = place?.group
    const next = last && formatPlace({ after: placeOf(last), count, ...(group && { group }) })
    return {
      ...{ count, results, state, highlights: highlightsOf(search.term) },
      groups: groupsOf(search.groupBy, page, isFull ? count : undefined),
      ...(next !== undefined && { nextBatch: next }),
    }
  }

  /** How many the user may see, estimated where that are many. */
  async function countOf(
    query: TextQuery,
    { hits, looked, isAll }: { hits: readonly Hit[]; looked: number; isAll: boolean },
  ): Promise<number> {
    if (isAll || looked === 0) return hits.length
    const all = await countTexts(db, { ...query, limit: countMax })
    return Math.max(hits.length, Math.round((all * hits.length) / looked))
  }
}

function queryOf(
  { term, keys, filter, order }: MessageSearch,
  place: SearchPlace | undefined,
  all: readonly RoomId[],
): TextQuery {
  const wanted = keys
    .map((key) => searchedKeys[key])
    .filter(({ type }) =>
      matchesEvent({ types: filter.types, not_types: filter.not_types }, { type }),
    )
  const { group, after } = place ?? {}
  const rooms = group?.key === 'room_id' ? all.filter((room) => room === group.value) : all
  const ofGroup = group?.key === 'sender' && isUserId(group.value) ? [group.value] : undefined
  const senders = ofGroup ?? filter.senders
  const shared = { term: term.replaceAll('\0', ' '), order, rooms: rooms.filter(isRoomId) }
  return {
    ...shared,
    keys: wanted.map(({ name }) => name),
    ...{ senders, notSenders: filter.not_senders ?? [], after, limit: batchSize },
  }
}

function placeOf({ rank, ts, nr }: Place): Place {
  return { rank, ts, nr }
}

/** Results by what they have in common; `count` when there may be more. */
function groupsOf(keys: readonly GroupKey[], page: readonly Hit[], count: number | undefined) {
  const groups = new Map<GroupKey, Map<string, FoundGroup>>()
  for (const key of keys) {
    const hits = new Map<string, Hit[]>()
    for (const hit of page) {
      const { roomId, sender } = hit.seen.event.pdu
      const value = key === 'room_id' ? roomId : sender
      hits.set(value, [...(hits.get(value) ?? []), hit])
    }
    const found = new Map<string, FoundGroup>()
    for (const [value, members] of hits) {
      const last = members.at(-1)?.row
      const results = members.map(({ row }) => row.event_id)
      const group = { key, value }
      const next = count !== undefined && last && { after: placeOf(last), count, group }
      const order = found.size + 1
      found.set(value, { order, results, ...(next && { nextBatch: formatPlace(next) }) })
    }
    groups.set(key, found)
  }
  return groups
}

/** The words of a term that are wanted, not those that are not. */
function highlightsOf(term: string): string[] {
  const words = term
    .split(/\s+/)
    .filter((word) => !word.startsWith('-'))
    .flatMap((word) => word.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [])
  return [...new Set(words)]
}
