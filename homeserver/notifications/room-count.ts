import type { RoomId, UserId } from '../../spec/ids.ts'
import { objectAt, stringAt } from '../../spec/json.ts'
import type { PushVerdict } from '../../spec/push/evaluate.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { LogRow } from '../stream/log.ts'

/** Unread notifications of one thread. */
export interface Count {
  notify: number
  highlight: number
}

/** What a user has not read in a room, by thread: `main`, or a thread's root. */
export type UserCount = Map<string, Count>

/** The counts of one room in this process's memory. */
export interface RoomCount {
  readonly room: RoomId
  readonly users: Map<UserId, UserCount>
  /** Rows of the log that are not counted yet, in order. */
  pending: LogRow[]
  /** Log position up to which everything is counted. */
  countedTo: number
  /** Position of the newest counted event. */
  lastEvent: number
  /** Events counted since the room was last stored. */
  unstored: number
  /** Users whose counts changed since the room was last stored. */
  dirty: Set<UserId>
  /** One piece of work at a time. */
  work: Promise<void>
}

export const mainThread = 'main'

/** The thread an event belongs to. {@link https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts} */
export function threadOf(event: StoredEvent): string {
  const relation = objectAt(event.pdu.content, 'm.relates_to')
  if (relation === undefined || stringAt(relation, 'rel_type') !== 'm.thread') return mainThread
  return stringAt(relation, 'event_id') ?? mainThread
}

/** Adds what the rules say about an event for a user; the sender has read up to the own event. */
export function countEvent(
  count: RoomCount,
  user: UserId,
  event: StoredEvent,
  thread: string,
  verdict: PushVerdict,
): void {
  if (event.pdu.sender === user) {
    clearThread(count, user, thread)
    return
  }
  if (!verdict.notify) return
  const threads = count.users.get(user) ?? new Map<string, Count>()
  count.users.set(user, threads)
  const before = threads.get(thread) ?? { notify: 0, highlight: 0 }
  threads.set(thread, before)
  before.notify += 1
  if (verdict.highlight) before.highlight += 1
  count.dirty.add(user)
}

export function clearThread(count: RoomCount, user: UserId, thread: string): void {
  const threads = count.users.get(user)
  if (!threads?.delete(thread)) return
  if (threads.size === 0) count.users.delete(user)
  count.dirty.add(user)
}

export function clearUser(count: RoomCount, user: UserId): void {
  if (count.users.delete(user)) count.dirty.add(user)
}
