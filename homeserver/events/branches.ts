/** What an event beside the newest ones changes: which branches are still open, and what the current state becomes. */
import { type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import type { EventId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import type { Snapshots } from '../state/state.ts'
import type { LogEntry } from '../stream/log.ts'
import { currentStateRow, type MembershipRow, splitKey } from './persist.ts'
import { waitingFor } from './queries.ts'
import type { StateChange, StatePayload } from './room-views.ts'
import type { EventStore } from './store.ts'
import type { StateRoot, StoredEvent } from './stored-event.ts'
import { type TurnRoom, turnEvent, turnEvents } from './turns.ts'

interface Needs {
  readonly db: Database
  readonly store: EventStore
  readonly snapshots: Snapshots
  readonly membershipRow: MembershipRow
}

/** Edges of an event into what is not stored, and the end of edges that waited for it. */
export interface Edges {
  readonly rows: readonly JsonObject[]
  /** Something right before the event is not here. */
  readonly isAfterGap: boolean
}

export interface Branches {
  /**
   * Forward extremities once the event is in; it is one of them unless something came after it already. One that was
   * stored before, soft-failed, may have had successors all the while.
   */
  extremitiesWith(
    turn: TurnRoom,
    event: StoredEvent,
    wasSoftFailed?: boolean,
  ): Promise<readonly EventId[]>
  /** Which keys differ between two snapshots, with the events that hold them in the second. */
  changesBetween(turn: TurnRoom, from: StateRoot, to: StateRoot): Promise<StateChange[]>
  /** The log row of what resolution changed without an event of its own at this position. */
  stateEntry(turn: TurnRoom, changes: readonly StateChange[]): Promise<LogEntry>
  edgesOf(turn: TurnRoom, event: StoredEvent): Promise<Edges>
}

/** Forward extremities that a room keeps; the oldest are let go. */
const extremitiesMax = 50
/** Refused events that are looked through for what they cover. */
const refusedMax = 100
/** Accepted events that are looked through for successors of one that was soft-failed. */
const successorsMax = 200

export function createBranches({ db, store, snapshots, membershipRow }: Needs): Branches {
  /**
   * What an event has behind it: its predecessors, and those of predecessors that were refused, which are no extremities
   * themselves and must not leave the events before them as such.
   */
  async function coveredBy(turn: TurnRoom, event: StoredEvent): Promise<ReadonlySet<EventId>> {
    const covered = new Set<EventId>(event.pdu.prevEvents)
    let front: readonly EventId[] = event.pdu.prevEvents
    for (let looked = 0; front.length > 0 && looked < refusedMax; looked += front.length) {
      const next: EventId[] = []
      for (const { pdu, softFailed, rejected } of (await turnEvents(turn, store, front)).values()) {
        if (!softFailed && rejected === undefined) continue
        for (const id of pdu.prevEvents) {
          if (covered.has(id)) continue
          covered.add(id)
          next.push(id)
        }
      }
      front = next
    }
    return covered
  }

  /** Whether the newest events come after this one, or are too many to tell. */
  async function isSucceeded(turn: TurnRoom, { pdu }: StoredEvent): Promise<boolean> {
    const seen = new Set<EventId>(turn.extremities)
    let front: readonly EventId[] = turn.extremities
    while (front.length > 0 && seen.size < successorsMax) {
      const events = [...(await turnEvents(turn, store, front)).values()]
      const later = events.filter(({ pdu: { depth } }) => depth > pdu.depth)
      const next = new Set(later.flatMap(({ pdu: { prevEvents } }) => prevEvents))
      if (next.has(pdu.eventId)) return true
      front = [...next].filter((id) => !seen.has(id))
      for (const id of front) seen.add(id)
    }
    return front.length > 0
  }

  return {
    async extremitiesWith(turn, event, wasSoftFailed = false) {
      if (wasSoftFailed && (await isSucceeded(turn, event))) return turn.extremities
      const { eventId } = event.pdu
      const covered = await coveredBy(turn, event)
      const kept = turn.extremities.filter((id) => !covered.has(id))
      const hasSuccessors = (await waitingFor(db, [eventId])).size > 0
      return hasSuccessors ? kept : [...kept, eventId].slice(-extremitiesMax)
    },
    async changesBetween(turn, from, to) {
      const { added, removed } = await snapshots.difference(from, to)
      const changes = new Map<StateKey, number | undefined>()
      const keyOf = async (nr: number) => {
        const event = await turnEvent(turn, store, nr)
        return event?.pdu.stateKey === undefined
          ? undefined
          : stateKeyOf(event.pdu.type, event.pdu.stateKey)
      }
      for (const nr of removed) {
        const key = await keyOf(nr)
        if (key !== undefined) changes.set(key, undefined)
      }
      for (const nr of added) {
        const key = await keyOf(nr)
        if (key !== undefined) changes.set(key, nr)
      }
      return [...changes]
    },
    async stateEntry(turn, changes) {
      const payload: StatePayload = { changes }
      const members: JsonObject[] = []
      for (const [key, nr] of changes) {
        const [type, user] = splitKey(key)
        if (type !== 'm.room.member') continue
        const event = nr === undefined ? undefined : await turnEvent(turn, store, nr)
        // Who is not in the state any more has left, without an event that says so.
        members.push(event ? membershipRow(event) : { room_id: turn.room, user_id: user })
      }
      return {
        kind: 'state',
        room: turn.room,
        ref: JSON.stringify(changes.map(([key, nr]) => [key, nr ?? null])),
        payload,
        tables: {
          current_state: changes.map((change) => currentStateRow(turn.room, change)),
          ...(members.length > 0 && { memberships: members }),
        },
      }
    },
    async edgesOf(turn, { pdu }) {
      const prevs = await turnEvents(turn, store, pdu.prevEvents)
      const missing = pdu.prevEvents.filter((id) => prevs.get(id)?.stateAfter === undefined)
      const edge = { prev_event_id: pdu.eventId, room_id: turn.room }
      const rows = missing.map((id) => ({ ...edge, prev_event_id: id, event_id: pdu.eventId }))
      return { rows: [edge, ...rows], isAfterGap: rows.length > 0 }
    },
  }
}
