/** Giving older events their place in a room's history: the state at each, whether it counts, what it redacts. */
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import { type EventId, isEventId, type RoomId, type ServerName } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { authEventKeys } from '../../spec/room/auth-events.ts'
import { relationOf } from '../../spec/room/relation.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Database } from '../database/database.ts'
import type { Changed, Snapshots } from '../state/state.ts'
import type { LogWriter } from '../stream/log.ts'
import { forgetEntry } from './aggregates.ts'
import { createIdFor, type Gaps } from './gaps.ts'
import { judge, refusalByOwn } from './judge.ts'
import type { Numbers } from './numbers.ts'
import { eventRow, relationRow } from './persist.ts'
import { applyOutsideLog, pendingRedactions } from './queries.ts'
import { mayRedact } from './redactions.ts'
import type { Resolver } from './resolution.ts'
import type { EventStore } from './store.ts'
import type { StateRoot, StoredEvent } from './stored-event.ts'

type Placed = ReadonlyMap<EventId, StoredEvent>

export interface Placing {
  /**
   * An older event with the state at it, and rejected where the auth rules refuse it; its auth events must be stored.
   * `placed` are those before it that are not stored yet.
   */
  place(server: ServerName, pdu: Pdu, rules: RoomVersionRules, placed: Placed): Promise<StoredEvent>
  /** Stores placed events, with relations and redactions among them. */
  store(room: RoomId, rules: RoomVersionRules, placed: Placed): Promise<readonly StoredEvent[]>
}

interface Needs {
  readonly db: Database
  readonly store: EventStore
  readonly snapshots: Snapshots
  readonly resolver: Resolver
  readonly numbers: Numbers
  readonly gaps: Gaps
  readonly writer: Pick<LogWriter, 'write'>
}

/** Numbers one event may use: its own, its arrival and the nodes of its paths. */
const numbersPerEvent = 40

export function createPlacing(needs: Needs): Placing {
  const { db, store, snapshots, resolver, numbers, gaps, writer } = needs

  async function entryAt(root: StateRoot, key: StateKey, placed: Placed) {
    const nr = await snapshots.lookup(root, key)
    if (nr === undefined) return undefined
    for (const event of placed.values()) if (event.nr === nr) return event
    return (await store.byNumber([nr])).get(nr)
  }

  async function createOf(room: RoomId, rules: RoomVersionRules, root: StateRoot, placed: Placed) {
    const id = createIdFor(room, rules)
    if (id === undefined) return await entryAt(root, stateKeyOf('m.room.create', ''), placed)
    return placed.get(id) ?? (await store.get([id])).get(id)
  }

  /** Why the auth rules refuse an event: by its own auth events, or by the state before it. */
  async function refusal(pdu: Pdu, rules: RoomVersionRules, root: StateRoot, placed: Placed) {
    if (pdu.type === 'm.room.create') return undefined
    const own = new Map(await store.get(pdu.authEvents))
    for (const id of pdu.authEvents) {
      const event = placed.get(id)
      if (event !== undefined) own.set(id, event)
    }
    const create = await createOf(pdu.roomId, rules, root, placed)
    const byOwn = refusalByOwn(pdu, rules, own, create)
    if (byOwn !== undefined) return byOwn
    const state = new Map<StateKey, Pdu>()
    for (const key of authEventKeys(pdu, rules)) {
      const event = await entryAt(root, key, placed)
      if (event !== undefined) state.set(key, event.pdu)
    }
    const verdict = judge(pdu, rules, state, create)
    return verdict.kind === 'reject' ? verdict.reason : undefined
  }

  /** From the event's own earlier events where they are here, or as the server says it. */
  async function stateBefore(
    server: ServerName,
    pdu: Pdu,
    rules: RoomVersionRules,
    placed: Placed,
  ): Promise<Changed> {
    if (pdu.type === 'm.room.create') return { root: 0, rows: [] }
    const find = async (ids: readonly EventId[]) => {
      const found = new Map(await store.get(ids))
      for (const id of ids) {
        const event = placed.get(id)
        if (event !== undefined) found.set(id, event)
      }
      return found
    }
    const byNumber = async (nrs: readonly number[]) => {
      const found = new Map(await store.byNumber(nrs))
      const wanted = new Set(nrs)
      for (const event of placed.values()) if (wanted.has(event.nr)) found.set(event.nr, event)
      return found
    }
    const roots: StateRoot[] = []
    for (const { stateAfter } of (await find(pdu.prevEvents)).values()) {
      if (stateAfter !== undefined) roots.push(stateAfter)
    }
    const isWhole = roots.length > 0 && roots.length === pdu.prevEvents.length
    if (isWhole) return await resolver.resolve(pdu.roomId, rules, roots, find, byNumber)
    return { root: await gaps.fetchState(server, pdu.roomId, pdu.eventId, rules), rows: [] }
  }

  /** What placed events redact, and what redacts them: rows, and the redaction of each target. */
  async function redactionsAmong(room: RoomId, rules: RoomVersionRules, placed: Placed) {
    const pairs: (readonly [redaction: StoredEvent, target: EventId])[] = []
    for (const event of placed.values()) {
      const { type, redacts } = event.pdu
      if (type === 'm.room.redaction' && redacts !== undefined && event.rejected === undefined)
        pairs.push([event, redacts])
    }
    const waiting = await pendingRedactions(db, [...placed.keys()])
    const early = await store.get(waiting.map(({ event_id: id }) => id).filter(isEventId))
    for (const event of early.values())
      if (event.pdu.redacts !== undefined) pairs.push([event, event.pdu.redacts])
    const targets = await store.get(pairs.map(([, id]) => id))
    const rows: JsonObject[] = []
    const byTarget = new Map<EventId, EventId>()
    for (const [redaction, id] of pairs) {
      const target = placed.get(id) ?? targets.get(id)
      const root = redaction.stateBefore ?? 0
      const create = await createOf(room, rules, root, placed)
      const levels = await entryAt(root, stateKeyOf('m.room.power_levels', ''), placed)
      const state = { create: create?.pdu, powerLevels: levels?.pdu }
      const { eventId } = redaction.pdu
      const valid = target && mayRedact(rules, redaction.pdu, target.pdu, state)
      const row = { redacts: id, event_id: eventId, room_id: room }
      rows.push(valid === undefined ? row : { ...row, valid })
      if (valid) byTarget.set(id, eventId)
    }
    return { rows, byTarget }
  }

  /** What is stored here has no row of the log: that other events' relations changed has one. */
  async function tellOfRelations(
    events: readonly StoredEvent[],
    redacted: ReadonlyMap<EventId, EventId>,
    placed: Placed,
  ): Promise<void> {
    const changed = new Set<EventId>(redacted.keys())
    for (const { pdu } of events) {
      const target = relationOf(pdu)?.target
      if (target !== undefined) changed.add(target)
    }
    const entries = [...changed].filter((id) => !placed.has(id)).map(forgetEntry)
    if (entries.length > 0) await writer.write({ entries })
  }

  return {
    async place(server, pdu, rules, placed) {
      const before = await stateBefore(server, pdu, rules, placed)
      const rejected = await refusal(pdu, rules, before.root, placed)
      await numbers.ready(numbersPerEvent)
      const known = (await store.get([pdu.eventId])).get(pdu.eventId)
      const nr = known?.nr ?? numbers.take()
      store.expect(nr, pdu)
      const isState = pdu.stateKey !== undefined && rejected === undefined
      const own = isState ? [[stateKeyOf(pdu.type, pdu.stateKey), nr] as const] : []
      const after = await snapshots.update(before.root, new Map(own))
      const rows = [...before.rows, ...after.rows]
      if (rows.length > 0) await applyOutsideLog(db, 'state_nodes', JSON.stringify(rows))
      const placedEvent = {
        nr,
        pdu,
        text: pdu.text ?? known?.text ?? JSON.stringify(pdu.json),
        stateBefore: before.root,
        stateAfter: after.root,
        softFailed: false,
      }
      if (rejected !== undefined) return { ...placedEvent, rejected }
      // Arrival counts downwards for what is older than what is here.
      return { ...placedEvent, position: -numbers.take() }
    },
    async store(room, rules, placed) {
      const { rows, byTarget } = await redactionsAmong(room, rules, placed)
      const events = [...placed.values()].map((event) => {
        const redactedBy = byTarget.get(event.pdu.eventId)
        return redactedBy === undefined ? event : { ...event, redactedBy }
      })
      const inPlace = events.filter(({ position }) => position !== undefined)
      const relations = inPlace.flatMap((event) => relationRow(event) ?? [])
      await applyOutsideLog(db, 'events', JSON.stringify(events.map((event) => eventRow(event))))
      await applyOutsideLog(db, 'event_relations', JSON.stringify(relations))
      await applyOutsideLog(db, 'redactions', JSON.stringify(rows))
      await applyOutsideLog(db, 'search_backfilled', JSON.stringify(searched(events)))
      for (const event of events) store.put(event)
      for (const [id, redactedBy] of byTarget) {
        const target = placed.has(id) ? undefined : store.peek(id)
        if (target !== undefined) store.put({ ...target, redactedBy })
      }
      await tellOfRelations(inPlace, byTarget, placed)
      return events
    },
  }
}

const searchedTypes: ReadonlySet<string> = new Set([
  'm.room.message',
  'm.room.name',
  'm.room.topic',
])

/** Rows for whoever searches: no row of the log tells of events that are placed later. */
function searched(events: readonly StoredEvent[]): JsonObject[] {
  return events
    .filter(({ pdu, position }) => position !== undefined && searchedTypes.has(pdu.type))
    .map(({ nr }) => ({ nr }))
}
