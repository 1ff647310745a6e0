/** Events stored for what they authorise and not for a place in history: auth events, state fetched from others. */
import type { Pdu } from '../../spec/events/event.ts'
import { createIdOfRoom, type EventId, type RoomId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { readStoredPdu } from '../../spec/room/event-format.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Database } from '../database/database.ts'
import { inAuthOrder } from './auth-order.ts'
import type { BulkVerifier } from './bulk-verify.ts'
import { refusalByOwn } from './judge.ts'
import type { Numbers } from './numbers.ts'
import { eventRow } from './persist.ts'
import { applyOutsideLog } from './queries.ts'
import type { EventStore } from './store.ts'
import type { StoredEvent } from './stored-event.ts'
import type { Verified, Verifier } from './verify.ts'

export interface Outliers {
  /** Verifies events of a room and leaves out what fails. */
  verify(room: RoomId, rules: RoomVersionRules, events: readonly JsonObject[]): Promise<Pdu[]>
  /**
   * Stores verified events, each judged by its own auth events: one that fails is stored as rejected, for good. One
   * whose auth events are not here is not stored, nor what builds on it: they may come another time. Answers all that
   * are stored, those that were here before included.
   */
  store(rules: RoomVersionRules, pdus: readonly Pdu[]): Promise<Map<EventId, StoredEvent>>
  /** As `store` for a single event whose auth events are not known, with rows for the caller's own write. */
  make(pdu: Pdu): Promise<StoredEvent>
}

/** Events of one insert, events verified at a stretch, and those that are verified here and not in threads. */
const chunkEvents = 500
const chunkVerified = 100
const verifiedHereMax = 1_000

interface Needs {
  readonly db: Database
  readonly store: EventStore
  readonly numbers: Numbers
  readonly verifier: Verifier
  readonly bulk: BulkVerifier
}

export function createOutliers({ db, store, numbers, verifier, bulk }: Needs): Outliers {
  async function make(pdu: Pdu, rejected?: string): Promise<StoredEvent> {
    await numbers.ready(1)
    return {
      nr: numbers.take(),
      pdu,
      text: pdu.text ?? JSON.stringify(pdu.json),
      softFailed: false,
      ...(rejected !== undefined && { rejected }),
    }
  }

  /** What passed in threads comes back as text; others get their turn while it is read. */
  async function verifyMany(
    room: RoomId,
    rules: RoomVersionRules,
    events: readonly JsonObject[],
  ): Promise<Pdu[]> {
    const pdus: Pdu[] = []
    for (const { pdu, text, eventId } of await bulk.verifyAll(room, rules, events)) {
      pdus.push(pdu ?? readStoredPdu(text, eventId, rules))
      if (pdus.length % chunkVerified === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    return pdus
  }

  return {
    make,
    async verify(room, rules, events) {
      if (events.length > verifiedHereMax) return await verifyMany(room, rules, events)
      const pending: Promise<Verified>[] = []
      for (let at = 0; at < events.length; at += chunkVerified) {
        const chunk = events.slice(at, at + chunkVerified)
        pending.push(...chunk.map((json) => verifier.verify(json, room, rules)))
        // Keys of many servers are fetched together, and others get their turn between the signatures.
        await new Promise((resolve) => setImmediate(resolve))
      }
      const verified = await Promise.all(pending)
      return verified.flatMap((one) => (one.kind === 'good' ? [one.pdu] : []))
    },
    async store(rules, pdus) {
      const ordered = inAuthOrder(pdus)
      const wanted = new Set(ordered.flatMap(({ eventId, authEvents }) => [eventId, ...authEvents]))
      const [first] = ordered
      const create = first && rules.createHashRoomId ? createIdOfRoom(first.roomId) : undefined
      if (create !== undefined) wanted.add(create)
      const events = new Map(await store.get([...wanted]))
      const fresh: StoredEvent[] = []
      for (const pdu of ordered) {
        if (events.has(pdu.eventId)) continue
        if (pdu.authEvents.some((id) => !events.has(id))) continue
        const event = await make(
          pdu,
          refusalByOwn(pdu, rules, events, create && events.get(create)),
        )
        events.set(pdu.eventId, event)
        fresh.push(event)
      }
      for (let at = 0; at < fresh.length; at += chunkEvents) {
        const rows = fresh.slice(at, at + chunkEvents).map((event) => eventRow(event))
        await applyOutsideLog(db, 'events', JSON.stringify(rows))
      }
      // Another process may have stored one of them meanwhile, under a number of its own.
      const stored = await store.get(ordered.map(({ eventId }) => eventId))
      return new Map(stored)
    },
  }
}
