import { hash } from 'node:crypto'
import { type Pdu, type StateKey, stateKeyOf } from '../events/event.ts'
import type { EventId } from '../ids.ts'
import { authorize, type StateReader } from './authorize.ts'
import type { RoomVersionRules } from './version.ts'

/** What of an event source this algorithm needs. */
export interface EventLookupV1 {
  event(id: EventId): Pdu | undefined
}

type StateMap = ReadonlyMap<StateKey, EventId>

/** Types that the auth rules look at, in the order in which their conflicts are settled; all others come after. */
const authTypes = ['m.room.power_levels', 'm.room.join_rules', 'm.room.member']

/**
 * The state resolution of room version 1: known to reset state, needed only to agree with the rooms that still use it.
 * {@link https://spec.matrix.org/v1.19/rooms/v1/#state-resolution}
 */
export function resolveStateV1(
  rules: RoomVersionRules,
  stateSets: readonly StateMap[],
  events: EventLookupV1,
): StateMap {
  const { resolved, conflicts } = separate(stateSets)
  const state: StateReader = (type, stateKey) => {
    const id = resolved.get(stateKeyOf(type, stateKey))
    return id === undefined ? undefined : events.event(id)
  }
  const open = [...conflicts].map(([key, ids]) => ({ key, ordered: orderV1(ids, events) }))
  const settle = (wanted: (type: string) => boolean, choose: typeof chooseAuthEvent) => {
    // All conflicts of a type are settled against the same state, so that their order does not matter.
    const winners = new Map<StateKey, EventId>()
    for (const { key, ordered } of open) {
      if (ordered === undefined || !wanted(ordered[0].type)) continue
      winners.set(key, choose(ordered, rules, state).eventId)
    }
    for (const [key, id] of winners) resolved.set(key, id)
  }
  for (const authType of authTypes) settle((type) => type === authType, chooseAuthEvent)
  settle((type) => !authTypes.includes(type), chooseOtherEvent)
  return resolved
}

type NonEmpty = readonly [Pdu, ...Pdu[]]

/** A key is in conflict when two states have different events for it; one that a state lacks is not. */
function separate(stateSets: readonly StateMap[]): {
  resolved: Map<StateKey, EventId>
  conflicts: Map<StateKey, Set<EventId>>
} {
  const found = new Map<StateKey, Set<EventId>>()
  for (const set of stateSets) {
    for (const [key, id] of set) {
      const ids = found.get(key)
      if (ids === undefined) found.set(key, new Set([id]))
      else ids.add(id)
    }
  }
  const resolved = new Map<StateKey, EventId>()
  const conflicts = new Map<StateKey, Set<EventId>>()
  for (const [key, ids] of found) {
    const [id] = ids
    if (ids.size === 1 && id !== undefined) resolved.set(key, id)
    else conflicts.set(key, ids)
  }
  return { resolved, conflicts }
}

/** By ascending depth, then by descending SHA-1 of the event id. */
function orderV1(ids: ReadonlySet<EventId>, events: EventLookupV1): NonEmpty | undefined {
  const known: { event: Pdu; tie: string }[] = []
  for (const id of ids) {
    const event = events.event(id)
    if (event !== undefined) known.push({ event, tie: hash('sha1', id, 'hex') })
  }
  known.sort((a, b) => a.event.depth - b.event.depth || (a.tie < b.tie ? 1 : -1))
  const [first, ...rest] = known.map(({ event }) => event)
  return first === undefined ? undefined : [first, ...rest]
}

/** From the least depth upwards: each event that its predecessor's state allows takes its place, the first refusal ends it. */
function chooseAuthEvent(
  [first, ...rest]: NonEmpty,
  rules: RoomVersionRules,
  state: StateReader,
): Pdu {
  let chosen = first
  for (const event of rest) {
    const verdict = authorize(event, rules, (type, stateKey) =>
      type === chosen.type && stateKey === chosen.stateKey ? chosen : state(type, stateKey),
    )
    if (verdict.kind === 'reject') break
    chosen = event
  }
  return chosen
}

/** From the greatest depth downwards: the first event that the state allows; when it allows none, the last. */
function chooseOtherEvent(ordered: NonEmpty, rules: RoomVersionRules, state: StateReader): Pdu {
  const allowed = ordered.findLast((event) => authorize(event, rules, state).kind === 'allow')
  return allowed ?? ordered[0]
}
