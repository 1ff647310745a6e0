import { LRUCache } from 'lru-cache'
import { type DeviceId, isDeviceId, isUserId, type UserId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import { atMost } from '../platform/cache.ts'
import type { LogEntry, Tail } from '../stream/log.ts'
import { createTailedCache } from '../stream/tailed-cache.ts'
import * as queries from './queries.ts'

/** A message as a sync answers it; `content` is JSON text. */
export interface ToDeviceMessage {
  readonly position: number
  readonly sender: UserId
  readonly type: string
  readonly content: string
}

/** First and last position of what waits for a device; absent when nothing does. */
interface Inbox {
  readonly oldest?: number
  readonly newest?: number
}

const inboxesMax = 50_000
/** Messages kept for a device; the oldest go first. */
const messagesPerDeviceMax = 10_000
/** How many messages for one device come in before its inbox is cut to size. */
const cutEvery = 500
const deletedAtOnce = 1000
const acknowledgementsMax = 50_000

/** Reads and shrinks inboxes; what comes in is written by the log. */
export function createInboxes({ db, tail }: { db: Database; tail: Pick<Tail, 'subscribe'> }) {
  const cache = createTailedCache<Inbox>({
    tail,
    name: 'to_device_inbox',
    entriesMax: inboxesMax,
    load: loadInbox,
    staleBy: (row) =>
      row.kind === 'toDevice' && row.user ? inboxKey(row.user, row.ref) : undefined,
  })
  /** What each device has; the deletion of it is under way or done. */
  const acknowledged = new LRUCache<string, number>({ ...atMost(acknowledgementsMax) })
  const grownBy = new LRUCache<string, number>({ ...atMost(inboxesMax) })
  let work = Promise.resolve()

  async function loadInbox(key: string): Promise<Inbox> {
    const { user, device } = splitKey(key)
    const row = await queries.inboxOf(db, user, device)
    if (row === undefined || row.oldest === null || row.newest === null) return {}
    return { oldest: row.oldest, newest: row.newest }
  }

  /** Behind the answer, one after the other; a lost deletion is made up for by the next acknowledgement. */
  function later(task: () => Promise<void>): void {
    work = work.then(task).catch(() => undefined)
  }

  async function deleteUpTo(user: UserId, device: DeviceId, upTo: number): Promise<void> {
    const { oldest } = await cache.get(inboxKey(user, device))
    if (oldest === undefined || oldest > upTo) return
    let deleted = deletedAtOnce
    while (deleted === deletedAtOnce) {
      deleted = await queries.deleteMessages(db, user, device, upTo, deletedAtOnce)
    }
    cache.drop(inboxKey(user, device))
  }

  async function cut(user: UserId, device: DeviceId): Promise<void> {
    const upTo = await queries.positionBeyond(db, user, device, messagesPerDeviceMax)
    if (upTo !== undefined) await deleteUpTo(user, device, upTo)
  }

  return {
    async pending(
      user: UserId,
      device: DeviceId,
      range: { after: number; upTo: number; limit: number },
    ): Promise<readonly ToDeviceMessage[]> {
      const { newest, oldest } = await cache.get(inboxKey(user, device))
      if (newest === undefined || newest <= range.after) return []
      if (oldest !== undefined && oldest > range.upTo) return []
      return await queries.messagesBetween(db, user, device, range)
    },
    acknowledge(user: UserId, device: DeviceId, upTo: number): void {
      const key = inboxKey(user, device)
      if ((acknowledged.get(key) ?? 0) >= upTo) return
      acknowledged.set(key, upTo)
      const inbox = cache.peek(key)
      if (inbox !== undefined && (inbox.oldest === undefined || inbox.oldest > upTo)) return
      later(() => deleteUpTo(user, device, upTo))
    },
    /** These messages are in: an inbox that nobody empties is cut. */
    grown(entries: readonly LogEntry[]): void {
      for (const { user, ref } of entries) {
        if (user === undefined || !isDeviceId(ref)) continue
        const key = inboxKey(user, ref)
        const count = (grownBy.get(key) ?? 0) + 1
        grownBy.set(key, count % cutEvery)
        if (count === cutEvery) later(() => cut(user, ref))
      }
    },
    async drained(): Promise<void> {
      await work
    },
  }
}

function inboxKey(user: UserId, device: string): string {
  return `${user}|${device}`
}

function splitKey(key: string): { user: UserId; device: DeviceId } {
  // A user id has no '|' that a device id could not have: the server name after the first colon has none.
  const bar = key.indexOf('|', key.indexOf(':'))
  const user = key.slice(0, bar)
  const device = key.slice(bar + 1)
  if (!isUserId(user) || !isDeviceId(device)) throw new Error('not the key of an inbox')
  return { user, device }
}
