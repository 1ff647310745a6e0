import { LRUCache } from 'lru-cache'
import { type RoomId, serverOfUser, type UserId } from '../../spec/ids.ts'
import { atMost } from '../platform/cache.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Memberships } from '../rooms/rooms.ts'
import type { LogRow, Tail } from '../stream/log.ts'
import { type CountingNeeds, createCounting } from './counting.ts'
import * as queries from './queries.ts'
import {
  type Count,
  mainThread,
  newRoomCount,
  type RoomCount,
  sum,
  unreadThreads,
} from './room-count.ts'
import type { Verdicts } from './verdicts.ts'

export interface UnreadNeeds extends CountingNeeds {
  readonly tail: Pick<Tail, 'subscribe' | 'position'>
  readonly clock: Clock
  readonly memberships: CountingNeeds['memberships'] & Pick<Memberships, 'ofUser'>
  readonly log: Logger
  /** Does this process store the counts of the room. */
  readonly owns: (room: RoomId) => boolean
}

/** Unread notifications of a user in a room. */
export interface Unread {
  /** All threads together. */
  readonly total: Count
  readonly main: Count
  /** By root event, those with something unread. */
  readonly threads: ReadonlyMap<string, Count>
}

export interface UnreadCounts extends AsyncDisposable {
  of(user: UserId, rooms: readonly RoomId[]): Promise<ReadonlyMap<RoomId, Unread>>
  /** How many unread notifications each of the user's rooms has, if any; of rooms that nobody asked about, as they are stored. */
  byRoom(user: UserId): Promise<ReadonlyMap<RoomId, number>>
  /** What the rules say in a room to its members of now. */
  verdicts(room: RoomId): Promise<Verdicts>
  /** Position up to which the user has read each thread of a room; '' is the whole room. */
  readUpTo(room: RoomId, user: UserId): Promise<ReadonlyMap<string, number>>
  /** Counts and stores what is pending; a timer does it too. */
  flush(): Promise<void>
}

/** What is stored of a user's counts, when it was read. */
interface Stored {
  readonly at: number
  readonly byRoom: ReadonlyMap<RoomId, number>
}

const roomsMax = 5_000
const storedMax = 10_000
const flushMs = 5_000
/** A room where nobody's count changes is stored after this many events, so that a start has little to catch up with. */
const storeEvery = 500
const roomsAtOnce = 8

/**
 * Counts what users have not read. Each process counts the rooms that somebody asks it about, from the tail and when
 * it is asked; the room's owner also stores the counts, behind. What is stored says up to where it is true, and the
 * rest is counted again after a start: nothing is lost by a crash and nothing counted twice.
 */
export function createUnreadCounts(needs: UnreadNeeds): UnreadCounts {
  const { db, tail, log } = needs
  const counting = createCounting(needs)
  const counts = new LRUCache<RoomId, RoomCount>({ ...atMost(roomsMax) })
  const stored = new LRUCache<UserId, Stored>({ ...atMost(storedMax) })
  /** Rooms with rows since the last flush. */
  const touched = new Set<RoomId>()

  function onRows(rows: readonly LogRow[]): void {
    for (const row of rows) {
      const { room } = row
      if (room === undefined || !matters(row)) continue
      counts.peek(room)?.pending.push(row)
      touched.add(room)
    }
  }

  /** Events, what changes the members behind them, and receipts of our users. */
  function matters({ kind, user }: LogRow): boolean {
    if (kind !== 'receipt') return kind === 'event' || kind === 'state'
    return user !== undefined && serverOfUser(user) === needs.serverName
  }

  function open(room: RoomId): RoomCount {
    const upTo = tail.position
    const count = newRoomCount(room, upTo)
    // From here on the tail's rows are collected; what came before is read.
    count.work = counting.load(count, upTo)
    counts.set(room, count)
    return count
  }

  /** The room's counts with everything the tail has brought. */
  async function counted(room: RoomId): Promise<RoomCount> {
    const count = counts.get(room) ?? open(room)
    if (count.pending.length > 0) count.work = count.work.then(() => counting.settle(count))
    try {
      await count.work
    } catch (error) {
      // What is in memory is not to be trusted any more: the next one to ask starts from what is stored.
      if (counts.peek(room) === count) counts.delete(room)
      throw error
    }
    return count
  }

  /** What is stored of a user; it lags behind anyway, so it is not read again for each event of a busy time. */
  async function storedFor(user: UserId): Promise<ReadonlyMap<RoomId, number>> {
    const now = needs.clock.now()
    const known = stored.get(user)
    if (known !== undefined && now - known.at < flushMs) return known.byRoom
    const rows = await queries.unreadByRoom(db, user)
    const byRoom = new Map(rows.map(({ room_id, notify }) => [room_id, notify]))
    stored.set(user, { at: now, byRoom })
    return byRoom
  }

  async function store(room: RoomId): Promise<void> {
    const count = await counted(room)
    const isWorth = count.baseDirty || count.dirty.size > 0 || count.unstored >= storeEvery
    if (!isWorth || !needs.owns(room)) return
    const { members } = await counting.verdictsOf(count)
    const users = [
      ...(count.baseDirty ? new Set([...members.keys(), ...count.dirty]) : count.dirty),
    ]
    count.dirty = new Set()
    count.baseDirty = false
    count.unstored = 0
    const rows = users.flatMap((user) =>
      [...unreadThreads(count, user)].map(([thread_id, { notify, highlight }]) => ({
        user_id: user,
        thread_id,
        notify,
        highlight,
      })),
    )
    await queries.storeUnread(db, room, count.countedTo, users, rows)
  }

  async function flush(): Promise<void> {
    const list = [...touched].filter((room) => counts.peek(room) !== undefined || needs.owns(room))
    touched.clear()
    await inTurns(list, roomsAtOnce, async (room) => {
      try {
        await store(room)
      } catch (error) {
        // What is not stored is counted again after a start.
        log.warn({ room, error }, 'unread counts not stored')
        counts.delete(room)
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
      await inTurns(asked, roomsAtOnce, async (room) => {
        out.set(room, unreadFrom(unreadThreads(await counted(room), user)))
      })
      return out
    },
    async byRoom(user) {
      const out = new Map<RoomId, number>()
      const atRest = await storedFor(user)
      for (const { room, membership } of (await needs.memberships.ofUser(user)).values()) {
        if (membership !== 'join') continue
        const notify =
          counts.peek(room) === undefined
            ? (atRest.get(room) ?? 0)
            : unreadFrom(unreadThreads(await counted(room), user)).total.notify
        if (notify > 0) out.set(room, notify)
      }
      return out
    },
    verdicts: async (room) => await counting.verdictsOf(await counted(room)),
    readUpTo: counting.readUpTo,
    flush,
    async [Symbol.asyncDispose]() {
      timer[Symbol.dispose]()
      subscription[Symbol.dispose]()
      await flushing
      await flush()
    },
  }
}

function unreadFrom(threads: ReadonlyMap<string, Count>): Unread {
  const others = new Map(threads)
  others.delete(mainThread)
  const total = [...threads.values()].reduce(sum, sum())
  return { total, main: threads.get(mainThread) ?? sum(), threads: others }
}

/** Runs `task` for each item, at most `atOnce` at a time. */
export async function inTurns<T>(
  items: readonly T[],
  atOnce: number,
  task: (item: T) => Promise<void>,
): Promise<void> {
  const rest = [...items].reverse()
  const runner = async () => {
    for (let item = rest.pop(); item !== undefined; item = rest.pop()) await task(item)
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, runner))
}
