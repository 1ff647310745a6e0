/**
 * The committed state of rooms as this process has seen it in the log: version, which event holds each key, and the
 * newest live events. Loaded on first use, kept true by the tail.
 */
import { LRUCache } from 'lru-cache'
import { type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import type { EventId, RoomId } from '../../spec/ids.ts'
import { type RoomVersionRules, rulesOf } from '../../spec/room/version.ts'
import type { Database } from '../database/database.ts'
import { readCurrentState } from '../state/state.ts'
import type { LogRow, Tail } from '../stream/log.ts'
import type { EventPayload } from './events.ts'
import { memberPrefix, noteMember, type ServersView } from './joined-servers.ts'
import { isDeletion } from './purged.ts'
import { findRoom } from './queries.ts'
import type { EventStore } from './store.ts'
import type { StoredEvent } from './stored-event.ts'

/** A room's committed state. */
export interface RoomView extends ServersView {
  readonly rules: RoomVersionRules
  /** False for a room of which only an invite or a knock is known. */
  readonly isHere: boolean
}

/** One change of a current state by resolution: `undefined` removes the key. */
export type StateChange = readonly [key: StateKey, nr: number | undefined]

/** Payload of log rows of kind 'state'. */
export interface StatePayload {
  readonly changes: readonly StateChange[]
  /** So much changed that whoever remembers the room reads it again; `ref` is '*'. */
  readonly isAll?: boolean
}

interface LiveView extends RoomView {
  readonly entries: Map<StateKey, number>
  isHere: boolean
  memberChanges: number
}

export interface RoomViews {
  /** Undefined when the room is not known here. */
  get(room: RoomId): Promise<RoomView | undefined>
}

/** A load under way. */
interface Loading {
  readonly view: Promise<LiveView | undefined>
  /** Changes that the tail brought meanwhile. */
  readonly missed: StateChange[]
  /** So much changed meanwhile that the room is read again. */
  isOld: boolean
}

const entriesMax = 2_000_000

export function createRoomViews(needs: {
  readonly db: Database
  readonly tail: Pick<Tail, 'subscribe'>
  readonly store: EventStore
}): RoomViews {
  const { db, store } = needs
  const views = new LRUCache<RoomId, LiveView>({
    maxSize: entriesMax,
    sizeCalculation: (view) => view.entries.size + 16,
  })
  /** Loads under way, with the changes that the tail brought meanwhile. */
  const loading = new Map<RoomId, Loading>()

  async function load(room: RoomId): Promise<LiveView | undefined> {
    const row = await findRoom(db, room)
    const rules = row && rulesOf(row.version)
    if (row === undefined || rules === undefined) return undefined
    const entries = await readCurrentState(db, room)
    return { rules, isHere: row.extremities.length > 0, entries, memberChanges: 0 }
  }

  async function loaded(room: RoomId): Promise<LiveView | undefined> {
    const underWay: Loading = { view: load(room), missed: [], isOld: false }
    loading.set(room, underWay)
    try {
      const view = await underWay.view
      if (underWay.isOld) return await loaded(room)
      if (view === undefined) return undefined
      change(store, view, underWay.missed)
      views.set(room, view)
      return view
    } finally {
      if (loading.get(room) === underWay) loading.delete(room)
    }
  }

  needs.tail.subscribe('room views', (rows) => {
    for (const row of rows) {
      if (row.room !== undefined && isDeletion(row)) views.delete(row.room)
      const changes = changesOf(row)
      if (changes === undefined || row.room === undefined) continue
      const underWay = loading.get(row.room)
      if (row.ref === '*') {
        views.delete(row.room)
        if (underWay !== undefined) underWay.isOld = true
      }
      for (const each of changes) underWay?.missed.push(each)
      const view = views.get(row.room)
      if (view === undefined) continue
      const before = view.entries.size
      change(store, view, changes)
      view.isHere = true
      // The cache has to know how much more a room weighs.
      if (view.entries.size > before * 2) views.set(row.room, view)
    }
  })

  return {
    get(room) {
      const view = views.get(room)
      if (view !== undefined) return Promise.resolve(view)
      return loading.get(room)?.view ?? loaded(room)
    },
  }

  function changesOf(row: LogRow): readonly StateChange[] | undefined {
    if (row.kind === 'state') return isStatePayload(row.payload) ? row.payload.changes : undefined
    if (row.kind !== 'event' || !isEventPayload(row.payload)) return undefined
    const { event, changesState, redacts } = row.payload
    store.put(located(event, row.position))
    if (redacts !== undefined) redact(redacts, event.pdu.eventId)
    if (!changesState || event.pdu.stateKey === undefined) return []
    return [[stateKeyOf(event.pdu.type, event.pdu.stateKey), event.nr]]
  }

  function redact(target: EventId, redaction: EventId): void {
    const event = store.peek(target)
    if (event !== undefined) store.put({ ...event, redactedBy: redaction })
    // A failure here shows what was redacted until it is read anew.
    else void store.refresh(target).catch(() => undefined)
  }
}

/** The event of a row that this process wrote gets its position now; others were loaded with it. */
function located(event: StoredEvent, position: number): StoredEvent {
  const open: { -readonly [K in keyof StoredEvent]: StoredEvent[K] } = event
  open.position ??= position
  return event
}

function change(store: EventStore, view: LiveView, changes: readonly StateChange[]): void {
  for (const [key, nr] of changes) {
    if (nr === undefined) view.entries.delete(key)
    else view.entries.set(key, nr)
    if (!key.startsWith(memberPrefix)) continue
    view.memberChanges++
    if (view.knownServers !== undefined) noteMember(store, view.knownServers, key, nr)
  }
}

/** Is a payload that of a row of kind 'event'. */
export function isEventPayload(payload: unknown): payload is EventPayload {
  return (
    typeof payload === 'object' &&
    payload !== null &&
    'event' in payload &&
    'changesState' in payload
  )
}

export function isStatePayload(payload: unknown): payload is StatePayload {
  return typeof payload === 'object' && payload !== null && 'changes' in payload
}
