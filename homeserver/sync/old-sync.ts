/**
 * What clients asked before there was /sync: snapshots of all rooms or of one, and a stream of events. Put together
 * from syncs, so that nothing is decided twice. {@link https://spec.matrix.org/v1.19/client-server-api/#syncing}
 */
import { notFound } from '../../spec/errors.ts'
import type { EventId, RoomId, UserId } from '../../spec/ids.ts'
import { isObject, type JsonObject, objectAt, stringAt } from '../../spec/json.ts'
import type { AccountData } from '../accounts/account-data.ts'
import type { Events, Seen } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { Clock } from '../platform/clock.ts'
import type { Presence } from '../presence/presence.ts'
import type { Receipts } from '../receipts/receipts.ts'
import type { Memberships, Requester, Rooms } from '../rooms/rooms.ts'
import { joinedNews, presenceOf, roomOf, roomsIn, textOf } from './old-forms.ts'
import { presenceContent } from './other-parts.ts'
import type { Sync, SyncRequest } from './sync.ts'

export interface OldSync {
  /** GET /initialSync. */
  snapshot(who: Requester, asked: SnapshotRequest, signal: AbortSignal): Promise<Snapshot>
  /** GET /rooms/{roomId}/initialSync. Throws M_FORBIDDEN to those who may not look at the room. */
  roomSnapshot(who: Requester, room: RoomId, limit: number): Promise<RoomSnapshot>
  /** GET /events: of one room, which one need not be in when the world may read it, or of all that one is in. */
  stream(who: Requester, asked: StreamRequest, signal: AbortSignal): Promise<Streamed>
  /** GET /events/{eventId}. Throws M_NOT_FOUND. */
  event(who: Requester, event: EventId): Promise<Seen>
}

type Snapshot = JsonObject & { readonly end: string; readonly rooms: JsonObject[] }
type RoomSnapshot = JsonObject & { readonly room_id: RoomId }

interface Streamed {
  readonly start: string
  readonly end: string
  readonly chunk: JsonObject[]
}

export interface SnapshotRequest {
  /** Events of each room. */
  readonly limit: number
  /** Rooms that were left, too. */
  readonly archived: boolean
}

export interface StreamRequest {
  readonly from?: string
  readonly room?: RoomId
  readonly timeoutMs: number
}

interface Needs {
  readonly sync: Sync
  readonly rooms: Pick<
    Rooms,
    'event' | 'messages' | 'state' | 'stateEvent' | 'visibility' | 'clientEvent'
  > & { readonly preload?: (events: readonly Seen[]) => Promise<void> }
  readonly events: Pick<Events, 'get'>
  readonly accountData: Pick<AccountData, 'all'>
  readonly memberships: Pick<Memberships, 'ofUser' | 'ofRoom' | 'isJoined'>
  readonly presence: Pick<Presence, 'get'>
  readonly receipts: Pick<Receipts, 'since'>
  readonly clock: Clock
}

/** Members of a room whose presence is told with it. */
const presenceMax = 200
/** Events of a room in one answer of the stream; of more the newest are told. */
const streamedMax = 1_000

export function createOldSync(needs: Needs): OldSync {
  const { sync, rooms, events, memberships } = needs

  /** An answer of /sync; the device takes no part, so that it misses none of its messages. */
  async function ask(
    { user, guest, admin }: Requester,
    more: Partial<SyncRequest>,
    filter: JsonObject,
    signal: AbortSignal,
  ): Promise<JsonObject> {
    const request: SyncRequest = {
      ...{ fullState: false, timeoutMs: 0, useStateAfter: true, setPresence: 'online' },
      ...{ ...more, filter: JSON.stringify(filter) },
    }
    const answer: unknown = JSON.parse(
      await textOf(await sync.sync({ user, guest, admin }, request, signal)),
    )
    return isObject(answer) ? answer : {}
  }

  const shownTo = (who: Requester) => (event: Seen | StoredEvent) => {
    const shown: unknown = JSON.parse(rooms.clientEvent(event, who))
    return isObject(shown) ? shown : {}
  }

  async function presenceIn(room: RoomId): Promise<JsonObject[]> {
    const found: JsonObject[] = []
    for (const { user, membership } of (await memberships.ofRoom(room)).values()) {
      if (membership !== 'join') continue
      const state = await needs.presence.get(user)
      const content = { user_id: user, ...presenceContent(state, needs.clock.now()) }
      if (state.lastActiveTs > 0) found.push({ type: 'm.presence', content })
      if (found.length >= presenceMax) break
    }
    return found
  }

  async function receiptsIn(room: RoomId, viewer: UserId): Promise<JsonObject[]> {
    const range = { after: 0, upTo: Number.MAX_SAFE_INTEGER, viewer }
    const content = (await needs.receipts.since([room], range)).get(room)
    return content === undefined ? [] : [{ type: 'm.receipt', room_id: room, content }]
  }

  async function accountDataOf(user: UserId, room: RoomId): Promise<JsonObject[]> {
    const data = (await needs.accountData.all(user)).filter((datum) => datum.room === room)
    return data.map(({ type, content }) => ({ type, content: JSON.parse(content) }))
  }

  return {
    async snapshot(who, { limit, archived }, signal) {
      const filter = { room: { include_leave: archived, timeline: { limit } } }
      const answer = await ask(who, {}, filter, signal)
      const found: JsonObject[] = []
      const receipts: JsonObject[] = []
      for (const [section, room, entry] of roomsIn(answer)) {
        const visibility = await rooms.visibility(room)
        found.push({ visibility, ...roomOf(section, room, entry, who.user, answer) })
        const ephemeral = joinedNews(room, { ephemeral: entry['ephemeral'] ?? {} }, who.user)
        receipts.push(...ephemeral.filter(({ type }) => type === 'm.receipt'))
      }
      return {
        end: stringAt(answer, 'next_batch') ?? '',
        rooms: found,
        presence: presenceOf(answer),
        account_data: objectAt(answer, 'account_data')?.['events'] ?? [],
        receipts,
      }
    },

    async roomSnapshot(who, room, limit) {
      // Taken first: what comes meanwhile is told again rather than not.
      const end = sync.now()
      const shown = shownTo(who)
      const state = (await rooms.state(who, room)).map(shown)
      const page = await rooms.messages(who, room, { dir: 'b', limit })
      const chunk = page.chunk.map(shown).reverse()
      const row = (await memberships.ofUser(who.user)).get(room)
      const isIn = row?.membership === 'join'
      return {
        room_id: room,
        ...(row !== undefined && { membership: row.membership }),
        visibility: await rooms.visibility(room),
        messages: { chunk, start: page.end ?? page.start, end: isIn ? end : page.start },
        state,
        presence: isIn ? await presenceIn(room) : [],
        receipts: isIn ? await receiptsIn(room, who.user) : [],
        account_data: await accountDataOf(who.user, room),
      }
    },

    async stream(who, { from = sync.now(), room, timeoutMs }, signal) {
      if (room !== undefined && !(await memberships.isJoined(who.user, room))) {
        // Whoever may not look at the room is refused here.
        await rooms.stateEvent(who, room, 'm.room.create', '')
        const found = await sync.peek(who, { room, since: from, timeoutMs }, signal)
        await rooms.preload?.(found.shown)
        return { start: from, end: found.next, chunk: found.shown.map(shownTo(who)) }
      }
      const timeline = { limit: streamedMax }
      const filter = { room: { timeline, ...(room !== undefined && { rooms: [room] }) } }
      const answer = await ask(who, { since: from, timeoutMs }, filter, signal)
      const chunk = roomsIn(answer).flatMap(([, id, entry]) => joinedNews(id, entry, who.user))
      const end = stringAt(answer, 'next_batch') ?? from
      return { start: from, end, chunk: [...chunk, ...presenceOf(answer)] }
    },

    async event(who, id) {
      const event = (await events.get([id])).get(id)
      if (event === undefined) throw notFound('Event')
      return await rooms.event(who, event.pdu.roomId, id)
    },
  }
}
