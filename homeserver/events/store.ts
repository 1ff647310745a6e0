/**
 * Stored events by id and by number: two bounded caches over one table. Rows are immutable but for what is learnt
 * later (a redaction, a position), which arrives through `put`.
 */
import { LRUCache } from 'lru-cache'
import type { Pdu, StateKey } from '../../spec/events/event.ts'
import { stateKeyOf } from '../../spec/events/event.ts'
import { type DeviceId, type EventId, parseDeviceId, parseEventId } from '../../spec/ids.ts'
import { readStoredPdu } from '../../spec/room/event-format.ts'
import { type RoomVersionRules, rulesOf } from '../../spec/room/version.ts'
import type { Database } from '../database/database.ts'
import { atMost, createCache } from '../platform/cache.ts'
import { type EventRow, eventsById, eventsByNumber } from './queries.ts'
import type { StoredEvent } from './stored-event.ts'

const cacheBytesMax = 40 * 1024 * 1024
/** State events that may be on their way at a time; what a number stands for never changes, so that none is taken back. */
const expectedMax = 50_000
/** Text, parsed form and client form of an event weigh about so many times its text, as measured with member events. */
const weightFactor = 4.5

export interface EventStore {
  get(ids: readonly EventId[]): Promise<ReadonlyMap<EventId, StoredEvent>>
  byNumber(nrs: readonly number[]): Promise<ReadonlyMap<number, StoredEvent>>
  /** From memory only. */
  peek(id: EventId): StoredEvent | undefined
  peekNumber(nr: number): StoredEvent | undefined
  put(event: StoredEvent): void
  /** Reads an event anew that has changed: it may be in memory by its number alone. */
  refresh(id: EventId): Promise<void>
  /** Drops an event from memory: it is gone, or its text has changed. */
  forget(nr: number, id: EventId): void
  /** Drops all events from memory. */
  clear(): void
  /** An event gets this number; snapshots name it before it is stored. */
  expect(nr: number, pdu: Pdu): void
  /** Which state key an event stands at. @throws Error when it is no state event that is stored or expected */
  keyOf(nr: number): Promise<StateKey>
  /** Reads rows of a query of this slice. */
  read(rows: readonly EventRow[]): StoredEvent[]
}

export function createEventStore({ db }: { readonly db: Database }): EventStore {
  const bound = {
    bytesMax: cacheBytesMax,
    sizeOf: (event: StoredEvent) => event.text.length * weightFactor,
  }
  const expected = new LRUCache<number, StateKey>({ ...atMost(expectedMax) })
  /** How often events that were known have changed or gone. */
  let changes = 0
  const byId = createCache<EventId, StoredEvent>({
    bound,
    load: async (ids) => {
      const begun = changes
      const found = read(await eventsById(db, ids))
      // The same object in both caches, unless one of them may know better.
      if (changes === begun)
        for (const event of found)
          if (numbered.peek(event.nr) === undefined) numbered.set(event.nr, event)
      return new Map(found.map((event) => [event.pdu.eventId, event]))
    },
  })
  const numbered = createCache<number, StoredEvent>({
    bound,
    load: async (nrs) => {
      const begun = changes
      const found = read(await eventsByNumber(db, nrs))
      if (changes === begun)
        for (const event of found)
          if (byId.peek(event.pdu.eventId) === undefined) byId.set(event.pdu.eventId, event)
      return new Map(found.map((event) => [event.nr, event]))
    },
  })

  function put(event: StoredEvent): void {
    if (byId.peek(event.pdu.eventId) !== undefined) changes++
    byId.set(event.pdu.eventId, event)
    numbered.set(event.nr, event)
  }

  function read(rows: readonly EventRow[]): StoredEvent[] {
    return rows.map((row) => {
      // One object per event: what is cached is as new as the row, or newer.
      const known = numbered.peek(row.nr)
      return known !== undefined && known.position === (row.position ?? undefined)
        ? known
        : readRow(row)
    })
  }

  return {
    get: (ids) => byId.getMany(ids),
    byNumber: (nrs) => numbered.getMany(nrs),
    peek: (id) => byId.peek(id),
    peekNumber: (nr) => numbered.peek(nr),
    put,
    async refresh(id) {
      for (const row of await eventsById(db, [id])) put(readRow(row))
    },
    forget(nr, id) {
      changes++
      numbered.invalidate(nr)
      byId.invalidate(id)
    },
    clear() {
      changes++
      byId.clear()
      numbered.clear()
    },
    expect(nr, { type, stateKey }) {
      if (stateKey !== undefined) expected.set(nr, stateKeyOf(type, stateKey))
    },
    async keyOf(nr) {
      const key = expected.get(nr)
      if (key !== undefined) return key
      const event = await numbered.get(nr)
      if (event?.pdu.stateKey === undefined) throw new Error(`event ${nr} is no state event`)
      return stateKeyOf(event.pdu.type, event.pdu.stateKey)
    },
    read,
  }
}

function readRow(row: EventRow): StoredEvent {
  const rules = requireRules(row.version)
  const pdu: Pdu = readStoredPdu(row.json, parseEventId(row.event_id), rules)
  return {
    nr: row.nr,
    pdu,
    text: row.json,
    softFailed: row.soft_failed,
    ...(row.position !== null && { position: row.position }),
    ...(row.state_before !== null && { stateBefore: row.state_before }),
    ...(row.state_after !== null && { stateAfter: row.state_after }),
    ...(row.rejected !== null && { rejected: row.rejected }),
    ...(row.redacted_by !== null && { redactedBy: parseEventId(row.redacted_by) }),
    ...txnOf(row),
    ...replacedOf(row, rules),
  }
}

function requireRules(version: string): RoomVersionRules {
  const rules = rulesOf(version)
  if (rules === undefined) throw new Error(`a stored room has the unknown version ${version}`)
  return rules
}

function txnOf(row: EventRow): { txn?: { device: DeviceId; id: string } } {
  if (row.txn_device === null || row.txn_id === null) return {}
  return { txn: { device: parseDeviceId(row.txn_device), id: row.txn_id } }
}

function replacedOf(row: EventRow, rules: RoomVersionRules): Pick<StoredEvent, 'replaces'> {
  if (row.replaced_json === null || row.replaced_id === null) return {}
  const eventId = parseEventId(row.replaced_id)
  const { sender, content } = readStoredPdu(row.replaced_json, eventId, rules)
  return { replaces: { eventId, sender, content } }
}
