import type { RoomId, UserId } from '../../spec/ids.ts'
import type { PushVerdict } from '../../spec/push/evaluate.ts'
import type { LogRow } from '../stream/log.ts'
import type { Verdicts } from './verdicts.ts'

/** Unread notifications of one thread. */
export interface Count {
  readonly notify: number
  readonly highlight: number
}

/** Counts by thread: `main`, or a thread's root. */
export type Threads = Map<string, Count>

/**
 * The counts of one room in this process's memory. An event says the same to nearly everybody: what it says is
 * counted once in `base`, and each user has the difference, so that an event costs the same in a room of thousands.
 */
export interface RoomCount {
  readonly room: RoomId
  /** What a user with the predefined rules has been told since the room was loaded. */
  readonly base: Threads
  /** What a user has beside `base`; less than nothing for what has been read. */
  readonly own: Map<UserId, Threads>
  /** Rows of the log that are not counted yet, in order. */
  pending: LogRow[]
  /** Log position up to which everything is counted. */
  countedTo: number
  /** Position of the newest counted event. */
  lastEvent: number
  /** Events counted since the room was last stored. */
  unstored: number
  /** Users whose difference changed since the room was last stored. */
  dirty: Set<UserId>
  /** `base` changed since the room was last stored: everybody's counts did. */
  baseDirty: boolean
  verdicts: Verdicts | undefined
  /** Members or power levels may have changed since `verdicts` was made. */
  isStale: boolean
  /** One piece of work at a time. */
  work: Promise<void>
}

export const mainThread = 'main'
const zero: Count = { notify: 0, highlight: 0 }

export function newRoomCount(room: RoomId, countedTo: number): RoomCount {
  return {
    room,
    base: new Map(),
    own: new Map(),
    pending: [],
    countedTo,
    lastEvent: 0,
    unstored: 0,
    dirty: new Set(),
    baseDirty: false,
    verdicts: undefined,
    isStale: false,
    work: Promise.resolve(),
  }
}

/** Counts an event for everybody. */
export function countForAll(count: RoomCount, thread: string, verdict: PushVerdict): void {
  if (!verdict.notify) return
  count.base.set(thread, sum(count.base.get(thread), countOf(verdict)))
  count.baseDirty = true
}

/** Corrects what `countForAll` did for a user to whom the event says something else. */
export function countApart(
  count: RoomCount,
  user: UserId,
  thread: string,
  verdict: PushVerdict,
  forAll: PushVerdict,
): void {
  if (verdict.notify === forAll.notify && verdict.highlight === forAll.highlight) return
  const threads = ownThreads(count, user)
  threads.set(thread, difference(sum(threads.get(thread), countOf(verdict)), countOf(forAll)))
}

/** Takes an event out of what a user has not read. */
export function uncount(
  count: RoomCount,
  user: UserId,
  thread: string,
  verdict: PushVerdict,
): void {
  if (!verdict.notify) return
  const threads = ownThreads(count, user)
  threads.set(thread, difference(threads.get(thread) ?? zero, countOf(verdict)))
}

/** What a user has not read, by thread. */
export function unreadThreads(count: RoomCount, user: UserId): Threads {
  const own = count.own.get(user) ?? new Map<string, Count>()
  const out: Threads = new Map()
  for (const thread of new Set([...count.base.keys(), ...own.keys()])) {
    const both = sum(count.base.get(thread), own.get(thread))
    if (both.notify > 0) out.set(thread, both)
  }
  return out
}

/** Makes these the user's counts. */
export function setThreads(
  count: RoomCount,
  user: UserId,
  threads: ReadonlyMap<string, Count>,
): void {
  const own = ownThreads(count, user)
  own.clear()
  for (const thread of new Set([...count.base.keys(), ...threads.keys()])) {
    own.set(thread, difference(threads.get(thread) ?? zero, count.base.get(thread) ?? zero))
  }
}

export function clearThread(count: RoomCount, user: UserId, thread: string): void {
  const read = difference(zero, count.base.get(thread) ?? zero)
  ownThreads(count, user).set(thread, read)
}

function ownThreads(count: RoomCount, user: UserId): Threads {
  const threads = count.own.get(user) ?? new Map<string, Count>()
  count.own.set(user, threads)
  count.dirty.add(user)
  return threads
}

export function countOf({ notify, highlight }: PushVerdict): Count {
  return { notify: notify ? 1 : 0, highlight: highlight ? 1 : 0 }
}

export function sum(a: Count = zero, b: Count = zero): Count {
  return { notify: a.notify + b.notify, highlight: a.highlight + b.highlight }
}

function difference(a: Count, b: Count): Count {
  return { notify: a.notify - b.notify, highlight: a.highlight - b.highlight }
}
