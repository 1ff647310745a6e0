/**
 * Owns read receipts: who has read how far in which room. A receipt only moves forwards; every move is a row of the
 * log (kind receipt). {@link https://spec.matrix.org/v1.19/client-server-api/#receipts}
 */
import { forbidden, invalidParam } from '../../spec/errors.ts'
import {
  type EventId,
  isEventId,
  isUserId,
  type RoomId,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import { mayBeReadIn } from '../events/threading.ts'
import type { Clock } from '../platform/clock.ts'
import type { Memberships, Requester } from '../rooms/rooms.ts'
import type { LogEntry, LogRow, LogWriter, Tail } from '../stream/log.ts'
import { writeDone } from '../stream/settled.ts'
import * as queries from './queries.ts'

type ReceiptType = 'm.read' | 'm.read.private'

/** What a log row of kind receipt says; its `ref` is this as JSON. */
export interface Receipt {
  readonly type: string
  readonly event_id: EventId
  /** `main` or a thread's root; absent for a receipt of the whole room. */
  readonly thread_id?: string
  /** Milliseconds since the epoch. */
  readonly ts: number
}

export interface Receipts {
  /**
   * Marks what the requester has read. A receipt behind the one before does nothing. Throws M_FORBIDDEN outside
   * the room, M_INVALID_PARAM for a thread that is none.
   */
  mark(
    who: Requester,
    room: RoomId,
    type: ReceiptType | 'm.fully_read',
    event: EventId,
    threadId?: string,
  ): Promise<void>
  /** Content of the m.receipt event of each room in which something moved with after < position <= upTo. */
  since(
    rooms: readonly RoomId[],
    range: { after: number; upTo: number; viewer: UserId; ignored?: ReadonlySet<UserId> },
  ): Promise<ReadonlyMap<RoomId, JsonObject>>
  /** The same of receipts on certain events, and of all that are the viewer's own. */
  ofEvents(
    rooms: readonly RoomId[],
    events: readonly string[],
    range: { upTo: number; viewer: UserId; ignored?: ReadonlySet<UserId> },
  ): Promise<ReadonlyMap<RoomId, JsonObject>>
  /** The same from log rows that are at hand. */
  contentOf(
    rows: readonly LogRow[],
    viewer: UserId,
    ignored?: ReadonlySet<UserId>,
  ): JsonObject | undefined
  /** A user's receipts in a room. */
  ofUser(room: RoomId, user: UserId): Promise<readonly Receipt[]>
  /** Who moved a receipt in the room after a position. */
  usersSince(room: RoomId, after: number): Promise<readonly UserId[]>
  /** One room of an m.receipt EDU; what is not of a joined user of `origin` is passed over. */
  onRemoteReceipts(origin: ServerName, room: RoomId, receipts: RemoteReceipts): Promise<void>
}

/** type → user → receipt, as servers tell each other. */
type RemoteReceipts = Readonly<
  Record<
    string,
    Readonly<
      Record<
        UserId,
        {
          readonly event_ids: readonly EventId[]
          readonly data: { readonly ts: number; readonly thread_id?: string | undefined }
        }
      >
    >
  >
>

export interface ReceiptsNeeds {
  readonly db: Database
  readonly log: Pick<LogWriter, 'write'>
  readonly tail: Pick<Tail, 'loader'>
  readonly clock: Clock
  readonly memberships: Pick<Memberships, 'isJoined'>
  readonly events: Pick<Events, 'get'>
  /** The log entry of a change of account data that the server itself makes, and the data itself. */
  readonly accountData: {
    entry(user: UserId, room: RoomId | undefined, type: string, content: JsonObject): LogEntry
    findRoom(user: UserId, room: RoomId, type: string): Promise<JsonObject | undefined>
  }
}

const receiptsPerRoomMax = 2000
const receiptsPerEduMax = 1000
const threadIdLengthMax = 255

export function createReceipts(needs: ReceiptsNeeds): Receipts {
  const { db, log, clock, memberships, events } = needs
  // Everything is in the row's ref.
  needs.tail.loader('receipt', async (rows) => rows.map(receiptOf))

  /** Is `next` ahead of `before` in this room; what is not known here counts as ahead. */
  async function isAhead(
    room: RoomId,
    next: EventId,
    before: EventId | undefined,
  ): Promise<boolean> {
    if (before === undefined) return true
    return isLater(room, next, before, await events.get([next, before]))
  }

  /** Those that are ahead of what is stored: the others, repeated or late, are not worth a row. */
  async function movedForwards(
    room: RoomId,
    given: readonly { user: UserId; receipt: Receipt }[],
  ): Promise<{ user: UserId; receipt: Receipt }[]> {
    if (given.length === 0) return []
    const users = given.map(({ user }) => user)
    const stored = new Map(
      (await queries.receiptsOfUsers(db, room, users)).map((row) => [
        JSON.stringify([row.user_id, row.type, row.thread_id]),
        row.event_id,
      ]),
    )
    const before = ({ user, receipt }: (typeof given)[number]) =>
      stored.get(JSON.stringify([user, receipt.type, receipt.thread_id ?? '']))
    const ids = given.flatMap((one) => [one.receipt.event_id, before(one) ?? []].flat())
    const known = await events.get([...new Set(ids)])
    return given.filter((one) => isLater(room, one.receipt.event_id, before(one), known))
  }

  async function mark(
    who: Requester,
    room: RoomId,
    type: ReceiptType,
    event: EventId,
    thread: string | undefined,
  ) {
    const receipt: Receipt = {
      type,
      event_id: event,
      ...(thread === undefined ? {} : { thread_id: thread }),
      ts: clock.now(),
    }
    const rows = await queries.receiptsOfUser(db, room, who.user)
    const before = rows.find((row) => row.type === type && row.thread_id === (thread ?? ''))
    if (!(await isAhead(room, event, before?.event_id))) return
    await writeDone(log, { entries: [receiptEntry(who.user, room, receipt)] })
  }

  async function requireRelated(id: EventId, thread: string): Promise<void> {
    const event = (await events.get([id])).get(id)
    const isRelated =
      event === undefined ? thread === 'main' : await mayBeReadIn(events, event, thread)
    if (!isRelated) throw invalidParam('thread_id', 'the event is not related to the thread')
  }

  async function markFullyRead(user: UserId, room: RoomId, event: EventId): Promise<void> {
    const before = (await needs.accountData.findRoom(user, room, 'm.fully_read'))?.['event_id']
    if (!(await isAhead(room, event, isEventId(before) ? before : undefined))) return
    const entry = needs.accountData.entry(user, room, 'm.fully_read', { event_id: event })
    await writeDone(log, { entries: [entry] })
  }

  return {
    async mark(who, room, type, event, threadId) {
      if (!(await memberships.isJoined(who.user, room))) throw forbidden('not in the room')
      if (type === 'm.fully_read') {
        if (threadId !== undefined) throw invalidParam('thread_id', 'read markers have no thread')
        return await markFullyRead(who.user, room, event)
      }
      requireThread(threadId)
      if (threadId !== undefined) await requireRelated(event, threadId)
      await mark(who, room, type, event, threadId)
    },
    async since(rooms, range) {
      const limit = receiptsPerRoomMax
      const rows = await queries.receiptsBetween(db, rooms, { ...range, limit })
      return contentsFrom(rows, range.ignored)
    },
    async ofEvents(rooms, events, range) {
      const rows = await queries.receiptsOnEvents(db, rooms, events, range)
      return contentsFrom(rows, range.ignored)
    },
    contentOf(rows, viewer, ignored) {
      const seen = rows.flatMap((row) => {
        if (row.kind !== 'receipt' || row.user === undefined || ignored?.has(row.user)) return []
        const receipt = receiptOf(row)
        return receipt.type === 'm.read.private' && row.user !== viewer
          ? []
          : [{ user: row.user, receipt }]
      })
      return seen.length === 0 ? undefined : contentFrom(seen)
    },
    async ofUser(room, user) {
      return (await queries.receiptsOfUser(db, room, user)).map(receiptFrom)
    },
    async usersSince(room, after) {
      return (await queries.usersSince(db, room, after)).map((row) => row.user_id)
    },
    async onRemoteReceipts(origin, room, receipts) {
      const given: { user: UserId; receipt: Receipt }[] = []
      for (const [user, { event_ids, data }] of userEntries(receipts['m.read'] ?? {})) {
        const [event] = event_ids
        if (event === undefined || given.length >= receiptsPerEduMax) continue
        if (serverOfUser(user) !== origin || !(await memberships.isJoined(user, room))) continue
        const head = { type: 'm.read', event_id: event, ts: data.ts }
        const { thread_id } = data
        given.push({ user, receipt: thread_id === undefined ? head : { ...head, thread_id } })
      }
      const entries = (await movedForwards(room, given)).map(({ user, receipt }) =>
        receiptEntry(user, room, receipt),
      )
      if (entries.length > 0) await writeDone(log, { entries })
    },
  }
}

/** Is `next` ahead of `before` in this room; what is not known counts as ahead. */
function isLater(
  room: RoomId,
  next: EventId,
  before: EventId | undefined,
  known: ReadonlyMap<EventId, StoredEvent>,
): boolean {
  if (before === next) return false
  const to = known.get(next)
  if (to !== undefined && to.pdu.roomId !== room) return false
  const from = before === undefined ? undefined : known.get(before)
  if (to?.position === undefined || from?.position === undefined) return true
  return to.position > from.position
}

function requireThread(threadId: string | undefined): void {
  if (threadId === undefined || threadId === 'main') return
  if (threadId.length > threadIdLengthMax || !isEventId(threadId)) {
    throw invalidParam('thread_id', 'neither main nor the root of a thread')
  }
}

function receiptEntry(user: UserId, room: RoomId, receipt: Receipt): LogEntry {
  const { type, event_id, thread_id = '', ts } = receipt
  const row = { room_id: room, user_id: user, type, thread_id, event_id, ts }
  return {
    kind: 'receipt',
    room,
    user,
    ref: JSON.stringify(receipt),
    payload: receipt,
    tables: { receipts: [row] },
  }
}

/** What a log row of kind receipt says. */
export function receiptOf(row: LogRow): Receipt {
  const { type, event_id, thread_id, ts }: Partial<Record<keyof Receipt, unknown>> = JSON.parse(
    row.ref,
  )
  if (typeof type !== 'string' || !isEventId(event_id) || typeof ts !== 'number') {
    throw new Error('not the ref of a receipt')
  }
  return typeof thread_id === 'string' ? { type, event_id, thread_id, ts } : { type, event_id, ts }
}

function receiptFrom({ type, event_id, thread_id, ts }: queries.ReceiptRow): Receipt {
  return thread_id === '' ? { type, event_id, ts } : { type, event_id, thread_id, ts }
}

/** Content of the m.receipt event of each room. */
function contentsFrom(
  rows: readonly queries.ReceiptRow[],
  ignored: ReadonlySet<UserId> | undefined,
): ReadonlyMap<RoomId, JsonObject> {
  const byRoom = new Map<RoomId, { user: UserId; receipt: Receipt }[]>()
  for (const row of rows) {
    if (ignored?.has(row.user_id)) continue
    const one = { user: row.user_id, receipt: receiptFrom(row) }
    const ofRoom = byRoom.get(row.room_id)
    if (ofRoom === undefined) byRoom.set(row.room_id, [one])
    else ofRoom.push(one)
  }
  return new Map([...byRoom].map(([room, ofRoom]) => [room, contentFrom(ofRoom)]))
}

/**
 * event → type → user → {ts, thread_id}. There is room for one receipt of a user on an event: the one of the whole
 * room stands before those of threads, which say less, and otherwise the later one.
 */
function contentFrom(receipts: readonly { user: UserId; receipt: Receipt }[]): JsonObject {
  const content: Record<string, Record<string, Record<string, JsonObject>>> = {}
  for (const { user, receipt } of receipts) {
    const { type, event_id, thread_id, ts } = receipt
    const types = content[event_id] ?? {}
    content[event_id] = types
    const users = types[type] ?? {}
    types[type] = users
    const before = users[user]
    if (before !== undefined && before['thread_id'] === undefined && thread_id !== undefined)
      continue
    users[user] = thread_id === undefined ? { ts } : { ts, thread_id }
  }
  return content
}

/** `Object.entries` with the type of the keys, which the border has checked. */
function userEntries<V extends object>(record: Readonly<Record<UserId, V>>): [UserId, V][] {
  return Object.entries(record).flatMap(([user, value]) => (isUserId(user) ? [[user, value]] : []))
}
