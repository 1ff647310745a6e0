import { LRUCache } from 'lru-cache'
import { type RoomId, type ServerName, serverOfUser, type UserId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Receipt, Receipts } from '../receipts/receipts.ts'
import { receiptOf } from '../receipts/receipts.ts'
import type { LogRow, Tail } from '../stream/log.ts'
import * as queries from './queries.ts'
import {
  type Count,
  clearThread,
  clearUser,
  countEvent,
  mainThread,
  type RoomCount,
  threadOf,
  type UserCount,
} from './room-count.ts'
import { type Verdicts, type VerdictsNeeds, verdictsIn } from './verdicts.ts'

export interface UnreadNeeds extends VerdictsNeeds {
  readonly db: Database
  readonly tail: Pick<Tail, 'subscribe' | 'position'>
  readonly clock: Clock
  readonly log: Logger
  readonly serverName: ServerName
  readonly receipts: Pick<Receipts, 'ofUser' | 'usersSince'>
  readonly events: VerdictsNeeds['events'] & Pick<Events, 'get' | 'timeline'>
  /** Does this process store the counts of the room. */
  readonly owns: (room: RoomId) => boolean
}

/** Unread notifications of a user in a room. */
export interface Unread {
  /** All threads together. */
  readonly total: Readonly<Count>
  readonly main: Readonly<Count>
  /** By root event, those with something unread. */
  readonly threads: ReadonlyMap<string, Readonly<Count>>
}

export interface UnreadCounts extends AsyncDisposable {
  of(user: UserId, rooms: readonly RoomId[]): Promise<ReadonlyMap<RoomId, Unread>>
  /** Counts and stores what is pending; a timer does it too. */
  flush(): Promise<void>
}

const roomsMax = 5_000
/** Events looked at when a room's stored counts are behind, or a user has read up to the middle. */
const recountMax = 1_000
const flushMs = 5_000
/** A room where nobody's count changes is stored after this many events, so that a start has little to catch up with. */
const storeEvery = 500
const loadsAtOnce = 8
const none: Unread = {
  total: { notify: 0, highlight: 0 },
  main: { notify: 0, highlight: 0 },
  threads: new Map(),
}

/**
 * Counts what users have not read. Each process counts the rooms that somebody asks it about, event by event from
 * the tail; the room's owner also stores the counts, behind. What is stored says up to where it is true, and the
 * rest is counted again after a start: nothing is lost by a crash and nothing counted twice.
 */
export function createUnreadCounts(needs: UnreadNeeds): UnreadCounts {
  const { db, tail, events, receipts } = needs
  const rooms = new LRUCache<RoomId, RoomCount>({ max: roomsMax })
  /** Rooms of which this process is the owner, with rows since the last flush. */
  const touched = new Set<RoomId>()
  const isLocal = (user: UserId) => serverOfUser(user) === needs.serverName

  function onRows(rows: readonly LogRow[]): void {
    for (const row of rows) {
      const { room } = row
      if (room === undefined) continue
      const isReceipt = row.kind === 'receipt' && row.user !== undefined && isLocal(row.user)
      if (row.kind !== 'event' && !isReceipt) continue
      rooms.peek(room)?.pending.push(row)
      if (row.kind === 'event' || rooms.peek(room) !== undefined) touched.add(room)
    }
  }

  /** The room's counts with everything the tail has brought. */
  async function counted(room: RoomId): Promise<RoomCount> {
    const count = rooms.get(room) ?? open(room)
    if (count.pending.length > 0) {
      count.work = count.work.then(() => settle(count))
    }
    try {
      await count.work
    } catch (error) {
      // What is in memory is not to be trusted any more: the next one to ask starts from what is stored.
      if (rooms.peek(room) === count) rooms.delete(room)
      throw error
    }
    return count
  }

  function open(room: RoomId): RoomCount {
    const count: RoomCount = {
      room,
      users: new Map(),
      pending: [],
      countedTo: tail.position,
      lastEvent: 0,
      unstored: 0,
      dirty: new Set(),
      work: Promise.resolve(),
    }
    // From here on the tail's rows are collected; what came before is read.
    count.work = load(count, tail.position)
    rooms.set(room, count)
    return count
  }

  async function load(count: RoomCount, upTo: number): Promise<void> {
    const { room } = count
    const storedTo = (await queries.countedTo(db, room)) ?? 0
    for (const row of await queries.unreadOf(db, room)) {
      const threads: UserCount = count.users.get(row.user_id) ?? new Map()
      count.users.set(row.user_id, threads)
      threads.set(row.thread_id, { notify: row.notify, highlight: row.highlight })
    }
    const range = { after: storedTo, upTo, limit: recountMax }
    const { events: missed } =
      storedTo >= upTo ? { events: [] } : await events.timeline(room, range)
    count.lastEvent = Math.max(storedTo, missed.at(-1)?.position ?? 0)
    const readers = (await receipts.usersSince(room, storedTo)).filter(isLocal)
    if (missed.length > 0 || readers.length > 0) {
      const verdicts = await verdictsIn(needs, room)
      countAll(count, verdicts, missed)
      for (const user of readers) await recount(count, user, verdicts)
    }
    count.countedTo = upTo
  }

  async function settle(count: RoomCount): Promise<void> {
    const rows = count.pending
    count.pending = []
    let run: StoredEvent[] = []
    let verdicts: Verdicts | undefined
    const countRun = async () => {
      if (run.length === 0) return
      verdicts ??= await verdictsIn(needs, count.room)
      countAll(count, verdicts, run)
      run = []
    }
    for (const row of rows) {
      if (row.kind === 'event' && carriesEvent(row.payload)) run.push(row.payload.event)
      else if (row.kind === 'receipt' && row.user !== undefined) {
        await countRun()
        await applyReceipt(count, row.user, receiptOf(row))
      }
    }
    await countRun()
    count.countedTo = Math.max(count.countedTo, rows.at(-1)?.position ?? 0)
  }

  function countAll(count: RoomCount, verdicts: Verdicts, list: readonly StoredEvent[]): void {
    for (const event of list) {
      const position = event.position ?? 0
      const thread = threadOf(event)
      const verdictOf = verdicts.of(event)
      for (const member of verdicts.members.values()) {
        if (member.since < position)
          countEvent(count, member.user, event, thread, verdictOf(member))
        else if (member.since === position) clearUser(count, member.user)
      }
      count.lastEvent = Math.max(count.lastEvent, position)
      count.unstored += 1
    }
  }

  async function applyReceipt(count: RoomCount, user: UserId, receipt: Receipt): Promise<void> {
    if (!count.users.has(user)) return
    const event = (await events.get([receipt.event_id])).get(receipt.event_id)
    if (event?.position === undefined || event.pdu.roomId !== count.room) return
    if (event.position < count.lastEvent) {
      return await recount(count, user, await verdictsIn(needs, count.room, [user]))
    }
    if (receipt.thread_id === undefined) clearUser(count, user)
    else clearThread(count, user, receipt.thread_id)
  }

  /** Counts a user's unread events anew from what the user has read. */
  async function recount(count: RoomCount, user: UserId, verdicts: Verdicts): Promise<void> {
    const { room } = count
    const floors = await readUpTo(room, user)
    const member = verdicts.members.get(user)
    clearUser(count, user)
    count.dirty.add(user)
    if (member === undefined) return
    const after = Math.max(floors.get('') ?? 0, member.since)
    if (after >= count.lastEvent) return
    const range = { after, upTo: count.lastEvent, limit: recountMax }
    for (const event of (await events.timeline(room, range)).events) {
      const thread = threadOf(event)
      if ((event.position ?? 0) <= (floors.get(thread) ?? 0)) continue
      countEvent(count, user, event, thread, verdicts.of(event)(member))
    }
  }

  /** Position up to which each thread is read; '' is the whole room. */
  async function readUpTo(room: RoomId, user: UserId): Promise<Map<string, number>> {
    const marks = await receipts.ofUser(room, user)
    const found = await events.get(marks.map((mark) => mark.event_id))
    const floors = new Map<string, number>()
    for (const { event_id, thread_id = '' } of marks) {
      const position = found.get(event_id)?.position ?? 0
      floors.set(thread_id, Math.max(floors.get(thread_id) ?? 0, position))
    }
    return floors
  }

  async function store(room: RoomId): Promise<void> {
    const count = await counted(room)
    if (!needs.owns(room)) {
      count.dirty.clear()
      return
    }
    if (count.dirty.size === 0 && count.unstored < storeEvery) return
    const users = [...count.dirty]
    count.dirty = new Set()
    count.unstored = 0
    const rows = users.flatMap((user) =>
      [...(count.users.get(user) ?? [])].map(([thread_id, { notify, highlight }]) => ({
        user_id: user,
        thread_id,
        notify,
        highlight,
      })),
    )
    await queries.storeUnread(db, room, count.countedTo, users, rows)
  }

  async function flush(): Promise<void> {
    const list = [...touched].filter((room) => rooms.peek(room) !== undefined || needs.owns(room))
    touched.clear()
    await inTurns(list, loadsAtOnce, async (room) => {
      try {
        await store(room)
      } catch (error) {
        // What is not stored is counted again after a start.
        needs.log.warn({ room, error }, 'unread counts not stored')
        rooms.delete(room)
      }
    })
  }

  const subscription = tail.subscribe('unread counts', onRows)
  let flushing: Promise<void> = Promise.resolve()
  const timer = needs.clock.every(flushMs, () => {
    flushing = flushing.then(flush)
  })

  return {
    async of(user, asked) {
      const out = new Map<RoomId, Unread>()
      await inTurns(asked, loadsAtOnce, async (room) => {
        const threads = (await counted(room)).users.get(user)
        out.set(room, threads === undefined ? none : unreadFrom(threads))
      })
      return out
    },
    flush,
    async [Symbol.asyncDispose]() {
      timer[Symbol.dispose]()
      subscription[Symbol.dispose]()
      await flushing
      await flush()
    },
  }
}

function unreadFrom(threads: UserCount): Unread {
  const total = { notify: 0, highlight: 0 }
  for (const { notify, highlight } of threads.values()) {
    total.notify += notify
    total.highlight += highlight
  }
  const main = { ...(threads.get(mainThread) ?? none.main) }
  const others = [...threads].filter(([thread]) => thread !== mainThread)
  return { total, main, threads: new Map(others.map(([thread, count]) => [thread, { ...count }])) }
}

function carriesEvent(payload: unknown): payload is { readonly event: StoredEvent } {
  return typeof payload === 'object' && payload !== null && 'event' in payload
}

/** Runs `task` for each item, at most `atOnce` at a time. */
async function inTurns<T>(items: readonly T[], atOnce: number, task: (item: T) => Promise<void>) {
  const rest = [...items].reverse()
  const runner = async () => {
    for (let item = rest.pop(); item !== undefined; item = rest.pop()) await task(item)
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, runner))
}
