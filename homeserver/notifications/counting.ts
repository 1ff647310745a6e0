import type { Pdu } from '../../spec/events/event.ts'
import {
  isUserId,
  type RoomId,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import { threadRootOf, threadRootsOf } from '../events/threading.ts'
import { type Receipt, type Receipts, receiptOf } from '../receipts/receipts.ts'
import * as queries from './queries.ts'
import {
  type Count,
  clearThread,
  countApart,
  countForAll,
  countOf,
  mainThread,
  type RoomCount,
  setThreads,
  sum,
  uncount,
  unreadThreads,
} from './room-count.ts'
import { type Verdicts, type VerdictsNeeds, verdictsIn } from './verdicts.ts'

export interface CountingNeeds extends VerdictsNeeds {
  readonly db: Database
  readonly serverName: ServerName
  readonly receipts: Pick<Receipts, 'ofUser' | 'usersSince'>
  readonly events: VerdictsNeeds['events'] & Pick<Events, 'get' | 'timeline'>
}

/** An event with the position of its log row. */
interface Placed {
  readonly event: StoredEvent
  readonly position: number
}

/** Events looked at when a room's stored counts are behind, or a user has read up to the middle. */
const recountMax = 1_000
const read: ReadonlyMap<string, Count> = new Map()
/** State that push rules ask about. */
const asked: ReadonlySet<string> = new Set([
  'm.room.create',
  'm.room.member',
  'm.room.power_levels',
])

/** How the counts of a room come about: from what is stored, and row by row of the log. */
export function createCounting(needs: CountingNeeds) {
  const { db, events, receipts } = needs

  /** Fills the counts with what is stored, and with what happened since up to `upTo`. */
  async function load(count: RoomCount, upTo: number): Promise<void> {
    const { room } = count
    const storedTo = (await queries.countedTo(db, room)) ?? 0
    for (const [user, threads] of threadsByUser(await queries.unreadOf(db, room))) {
      setThreads(count, user, threads)
    }
    count.dirty.clear()
    count.lastEvent = storedTo
    if (storedTo < upTo) {
      const range = { after: storedTo, upTo, limit: recountMax }
      const missed = (await events.timeline(room, range)).events
      if (missed.length > 0) await countAll(count, await verdictsOf(count), missed.map(placed))
      for (const { pdu } of missed) {
        if (pdu.redacts !== undefined) await takeBack(count, pdu, storedTo)
      }
      for (const user of await receipts.usersSince(room, storedTo)) {
        if (serverOfUser(user) === needs.serverName) await recount(count, user)
      }
    }
    count.countedTo = upTo
  }

  /** Counts what is pending, in order. */
  async function settle(count: RoomCount): Promise<void> {
    const rows = count.pending
    count.pending = []
    for (const row of rows) {
      if (row.kind === 'receipt' && row.user !== undefined) {
        await applyReceipt(count, row.user, receiptOf(row))
      } else if (row.kind === 'event' && carriesEvent(row.payload)) {
        const { event } = row.payload
        if (event.pdu.stateKey !== undefined && asked.has(event.pdu.type)) count.isStale = true
        await countAll(count, await verdictsOf(count), [{ event, position: row.position }])
        if (event.pdu.redacts !== undefined) await takeBack(count, event.pdu)
      } else {
        count.isStale = true
      }
    }
    count.countedTo = Math.max(count.countedTo, rows.at(-1)?.position ?? 0)
  }

  async function verdictsOf(count: RoomCount): Promise<Verdicts> {
    const { pushRules, ignorers } = needs
    if (!ignorers.isFresh) await ignorers.refresh()
    const known = count.verdicts
    if (known !== undefined && !count.isStale && stillHolds(known, pushRules)) return known
    count.isStale = false
    const verdicts = await verdictsIn(needs, count.room)
    if (known !== undefined) {
      // Whoever came in meanwhile has nothing to read of what was said before.
      for (const { user, since } of verdicts.members.values()) {
        if (known.members.get(user)?.since !== since) setThreads(count, user, read)
      }
    }
    count.verdicts = verdicts
    return verdicts
  }

  async function countAll(
    count: RoomCount,
    verdicts: Verdicts,
    list: readonly Placed[],
  ): Promise<void> {
    const all = list.map(({ event }) => event)
    const roots = await threadRootsOf(events, all)
    await verdicts.prepare(all)
    for (const { event, position } of list) {
      const { sender, stateKey } = event.pdu
      const thread = roots.get(event.pdu.eventId) ?? mainThread
      const forAll = verdicts.forAll(event)
      if (event.redactedBy === undefined) {
        countForAll(count, thread, forAll)
        for (const member of verdicts.apart(event)) {
          countApart(count, member.user, thread, verdicts.of(event, member), forAll)
        }
      }
      // Whoever says something has read what was said before.
      if (verdicts.members.has(sender)) clearThread(count, sender, thread)
      const joined = isUserId(stateKey) ? verdicts.members.get(stateKey) : undefined
      if (joined?.since === position) setThreads(count, joined.user, read)
      count.lastEvent = Math.max(count.lastEvent, position)
      count.unstored += 1
    }
  }

  /**
   * Takes a redacted event out of the counts of those who have not read it: what a user has not read of a thread is the
   * newest of it, so it is told by how many came later. `upTo`: what is later was never counted.
   */
  async function takeBack(count: RoomCount, redaction: Pdu, upTo = count.lastEvent): Promise<void> {
    const id = redaction.redacts
    const target = id === undefined ? undefined : (await events.get([id])).get(id)
    const position = target?.position ?? 0
    const isHere = target?.pdu.roomId === count.room && position > 0 && position <= upTo
    if (target === undefined || !isHere || target.redactedBy !== redaction.eventId) return
    const thread = (await threadRootOf(events, target)) ?? mainThread
    const verdicts = await verdictsOf(count)
    const range = { after: position, upTo: count.lastEvent, limit: recountMax }
    const later = (await events.timeline(count.room, range)).events.filter(isCounted)
    const roots = await threadRootsOf(events, later)
    const ofThread = later.filter(({ pdu }) => (roots.get(pdu.eventId) ?? mainThread) === thread)
    await verdicts.prepare([target, ...ofThread])
    const forAll = ofThread.filter((event) => verdicts.forAll(event).notify).length
    for (const member of verdicts.members.values()) {
      const before = unreadThreads(count, member.user).get(thread)?.notify ?? 0
      if (before === 0) continue
      const own = member.rules && ofThread.filter((event) => verdicts.of(event, member).notify)
      if (before > (own?.length ?? forAll)) {
        uncount(count, member.user, thread, verdicts.of(target, member))
      }
    }
  }

  async function applyReceipt(count: RoomCount, user: UserId, receipt: Receipt): Promise<void> {
    if (unreadThreads(count, user).size === 0) return
    const event = (await events.get([receipt.event_id])).get(receipt.event_id)
    if (event?.position === undefined || event.pdu.roomId !== count.room) return
    if (event.position < count.lastEvent) await recount(count, user)
    else if (receipt.thread_id === undefined) setThreads(count, user, read)
    else clearThread(count, user, receipt.thread_id)
  }

  /** Counts a user's unread events anew from what the user has read. */
  async function recount(count: RoomCount, user: UserId): Promise<void> {
    const verdicts = await verdictsOf(count)
    const member = verdicts.members.get(user)
    const floors = await readUpTo(count.room, user)
    const after = Math.max(floors.get('') ?? 0, member?.since ?? 0)
    const range = { after, upTo: count.lastEvent, limit: recountMax }
    const unread = new Map<string, Count>()
    const later = after >= count.lastEvent ? [] : (await events.timeline(count.room, range)).events
    const roots = await threadRootsOf(events, later)
    await verdicts.prepare(later)
    for (const event of member === undefined ? [] : later) {
      const thread = roots.get(event.pdu.eventId) ?? mainThread
      if (event.pdu.sender === user) unread.delete(thread)
      else if (isCounted(event) && member && (event.position ?? 0) > (floors.get(thread) ?? 0)) {
        unread.set(thread, sum(unread.get(thread), countOf(verdicts.of(event, member))))
      }
    }
    setThreads(count, user, unread)
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

  return { load, settle, verdictsOf, readUpTo }
}

/** Whose rules changed meanwhile is nobody in the room. */
function stillHolds(verdicts: Verdicts, pushRules: CountingNeeds['pushRules']): boolean {
  const { version } = pushRules
  if (verdicts.version === version) return true
  const changed = pushRules.changedSince(verdicts.version)
  if (changed === undefined || changed.some((user) => verdicts.members.has(user))) return false
  verdicts.version = version
  return true
}

function threadsByUser(rows: readonly queries.UnreadRow[]): Map<UserId, Map<string, Count>> {
  const users = new Map<UserId, Map<string, Count>>()
  for (const { user_id, thread_id, notify, highlight } of rows) {
    const threads = users.get(user_id) ?? new Map<string, Count>()
    users.set(user_id, threads.set(thread_id, { notify, highlight }))
  }
  return users
}

function isCounted({ redactedBy }: StoredEvent): boolean {
  return redactedBy === undefined
}

function placed(event: StoredEvent): Placed {
  return { event, position: event.position ?? 0 }
}

function carriesEvent(payload: unknown): payload is { readonly event: StoredEvent } {
  return typeof payload === 'object' && payload !== null && 'event' in payload
}
