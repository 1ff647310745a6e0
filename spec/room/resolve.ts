import { type Pdu, type StateKey, stateKeyOf } from '../events/event.ts'
import { createIdOfRoom, type EventId } from '../ids.ts'
import { authorize } from './authorize.ts'
import { mainlineOrder, reverseTopologicalPowerOrder } from './order.ts'
import { resolveStateV1 } from './resolve-v1.ts'
import type { RoomVersionRules } from './version.ts'

/** A room state: which event holds each key. */
export type StateMap = ReadonlyMap<StateKey, EventId>

/**
 * The events that a resolution looks at. Everything must have been loaded before: the state sets' conflicted events,
 * their auth chains, and (room version 12) the create event.
 */
export interface EventSource {
  /** An event, rejected or not; one that is undefined is left out of the resolution. */
  event(id: EventId): Pdu | undefined
  /** Was the event rejected on receipt. */
  isRejected(id: EventId): boolean
  /** All events that can be reached from these along auth events, these themselves only if so reached. */
  authChain(ids: Iterable<EventId>): ReadonlySet<EventId>
  /**
   * The events that are in the auth chain of some of the sets but not of all. A source with an index of auth chains
   * answers this without walking them; without it the walk is done here.
   */
  authDifference?(sets: readonly StateMap[]): ReadonlySet<EventId>
}

/**
 * The resolution of room states into one, by the algorithm of the room version. Independent of the order of the sets.
 * {@link https://spec.matrix.org/v1.19/rooms/v12/#state-resolution} {@link https://spec.matrix.org/v1.19/rooms/v2/#state-resolution}
 */
export function resolveState(
  rules: RoomVersionRules,
  stateSets: readonly StateMap[],
  events: EventSource,
): StateMap {
  const [first] = stateSets
  if (first === undefined) return new Map()
  if (stateSets.length === 1) return first
  if (rules.stateResolution === 'v1') return resolveStateV1(rules, stateSets, events)

  const { unconflicted, conflicted } = separate(stateSets)
  if (conflicted.size === 0) return unconflicted
  const authDifference =
    events.authDifference?.(stateSets) ?? walkAuthDifference(stateSets, unconflicted, events)
  const base = (key: StateKey) => unconflicted.get(key)
  const resolved = resolveConflict(rules, { base, conflicted, authDifference }, events)
  // 5: what was not in conflict stays as it was; a decided key is none of those.
  for (const [key, id] of resolved) unconflicted.set(key, id)
  return unconflicted
}

/** What the states to be resolved disagree about. */
interface Conflict {
  /** The unconflicted state map: what every state has, with the same event. */
  readonly base: (key: StateKey) => EventId | undefined
  /** The conflicted state set: every event that some state has and another has not. */
  readonly conflicted: ReadonlySet<EventId>
  /** The auth difference of the states. */
  readonly authDifference: ReadonlySet<EventId>
}

/**
 * The algorithm itself (v2, v2.1), for a caller who knows the conflict already: its work grows with the conflict and
 * not with the state. Answers the keys that were decided; the unconflicted keys keep their events.
 */
export function resolveConflict(
  rules: RoomVersionRules,
  conflict: Conflict,
  events: EventSource,
): Map<StateKey, EventId> {
  const fromNothing = rules.stateResolution === 'v2.1'
  const full = fullConflictedSet(rules, conflict, events)
  const create = createEventOf(rules, conflict, full, events)
  const lookup = (id: EventId) => events.event(id)

  // 1: power events, and what of the conflict authorises them.
  const powerIds = powerEventsOf(full)
  const inPowerIds: Pdu[] = []
  const remaining: Pdu[] = []
  for (const event of full.values()) {
    if (powerIds.has(event.eventId)) inPowerIds.push(event)
    else remaining.push(event)
  }
  const powerOrder = reverseTopologicalPowerOrder(inPowerIds, rules, create, lookup)

  // 2: v2 starts from the unconflicted state, v2.1 from nothing.
  const resolved = new Map<StateKey, EventId>()
  const base = fromNothing ? () => undefined : conflict.base
  const checks: AuthChecks = { rules, create, base, resolved, events }
  applyInOrder(powerOrder, checks)

  // 3: the rest, along the mainline of the power levels that came out.
  const levelsId = resolved.get(powerLevelsKey) ?? base(powerLevelsKey)
  const powerLevels = levelsId === undefined ? undefined : events.event(levelsId)
  const rest = mainlineOrder(remaining, powerLevels, lookup)

  // 4
  applyInOrder(rest, checks)

  // 5: keys that were not in conflict are not up for decision.
  for (const key of resolved.keys()) if (conflict.base(key) !== undefined) resolved.delete(key)
  return resolved
}

const createKey = stateKeyOf('m.room.create', '')
const powerLevelsKey = stateKeyOf('m.room.power_levels', '')

/** The unconflicted state map and the conflicted state set: a key that a state lacks is in conflict too. */
function separate(stateSets: readonly StateMap[]): {
  unconflicted: Map<StateKey, EventId>
  conflicted: Set<EventId>
} {
  const [first, ...others] = stateSets
  const unconflicted = new Map<StateKey, EventId>()
  const conflicted = new Set<EventId>()
  for (const [key, id] of first ?? []) {
    if (others.every((other) => other.get(key) === id)) unconflicted.set(key, id)
    else conflicted.add(id)
  }
  for (const other of others) {
    for (const [key, id] of other) if (!unconflicted.has(key)) conflicted.add(id)
  }
  return { unconflicted, conflicted }
}

/**
 * The auth difference by walking. The states share the chain of what is unconflicted, so only the chains of the
 * conflicted events are compared, and what the shared chain has is taken away.
 * @NOTE An event of every state counts as part of every chain, also where nothing in a chain refers to it: this is
 * how servers in the field compute the difference, and they have to agree.
 */
function walkAuthDifference(
  stateSets: readonly StateMap[],
  unconflicted: StateMap,
  events: EventSource,
): Set<EventId> {
  const chains = stateSets.map((set) => {
    const own: EventId[] = []
    for (const [key, id] of set) if (!unconflicted.has(key)) own.push(id)
    return events.authChain(own)
  })
  const difference = new Set<EventId>()
  for (const chain of chains) {
    for (const id of chain) if (!chains.every((other) => other.has(id))) difference.add(id)
  }
  if (difference.size === 0) return difference
  for (const id of unconflicted.values()) difference.delete(id)
  if (difference.size === 0) return difference
  for (const id of events.authChain(unconflicted.values())) difference.delete(id)
  return difference
}

/** Conflicted state set, auth difference and (v2.1) conflicted state subgraph, as far as the events are known. */
function fullConflictedSet(
  rules: RoomVersionRules,
  { conflicted, authDifference }: Conflict,
  events: EventSource,
): Map<EventId, Pdu> {
  const subgraph =
    rules.stateResolution === 'v2.1' ? conflictedSubgraph(conflicted, events) : new Set<EventId>()
  const full = new Map<EventId, Pdu>()
  for (const ids of [conflicted, authDifference, subgraph]) {
    for (const id of ids) {
      const event = events.event(id)
      if (event !== undefined) full.set(id, event)
    }
  }
  return full
}

/**
 * v2.1: every event on a path along auth events from one conflicted event to another.
 * {@link https://spec.matrix.org/v1.19/rooms/v12/#definitions}
 */
function conflictedSubgraph(conflicted: ReadonlySet<EventId>, events: EventSource): Set<EventId> {
  // Whether an event is, or leads to, a conflicted one. Everything visited is reached from a conflicted one.
  const leads = new Map<EventId, boolean>()
  const stack = [...conflicted]
  for (let id = stack.at(-1); id !== undefined; id = stack.at(-1)) {
    const authEvents = events.event(id)?.authEvents ?? []
    if (leads.has(id)) {
      // Seen again after its auth events, which have their answers now.
      stack.pop()
      if (authEvents.some((auth) => leads.get(auth) === true)) leads.set(id, true)
      continue
    }
    leads.set(id, conflicted.has(id))
    for (const auth of authEvents) if (!leads.has(auth)) stack.push(auth)
  }
  const subgraph = new Set<EventId>()
  for (const [id, does] of leads) if (does) subgraph.add(id)
  return subgraph
}

/** v12+: the event that the room id names; before that, the create event is found through state and auth events. */
function createEventOf(
  rules: RoomVersionRules,
  { base }: Conflict,
  full: ReadonlyMap<EventId, Pdu>,
  events: EventSource,
): Pdu | undefined {
  if (!rules.createHashRoomId) return undefined
  const inState = base(createKey)
  if (inState !== undefined) return events.event(inState)
  for (const { roomId } of full.values()) {
    return events.event(createIdOfRoom(roomId))
  }
  return undefined
}

/**
 * The power events of the conflict, and those of their auth events which are in it as well.
 * @NOTE The walk goes from conflicted event to conflicted event and not through others, and only the empty state key
 * makes power levels or join rules a power event (as it does a create event): so do the servers in the field.
 */
function powerEventsOf(full: ReadonlyMap<EventId, Pdu>): Set<EventId> {
  const found = new Set<EventId>()
  const stack = [...full.values()].filter(isPowerEvent)
  for (let event = stack.pop(); event !== undefined; event = stack.pop()) {
    found.add(event.eventId)
    for (const id of event.authEvents) {
      const authEvent = full.get(id)
      if (authEvent !== undefined && !found.has(id)) stack.push(authEvent)
    }
  }
  return found
}

/** An event that may take away somebody's ability to do something. */
function isPowerEvent({ type, stateKey, sender, content }: Pdu): boolean {
  switch (type) {
    case 'm.room.create':
    case 'm.room.power_levels':
    case 'm.room.join_rules':
      return stateKey === ''
    case 'm.room.member':
      if (content['membership'] !== 'leave' && content['membership'] !== 'ban') return false
      return stateKey !== sender
    default:
      return false
  }
}

interface AuthChecks {
  readonly rules: RoomVersionRules
  readonly create: Pdu | undefined
  readonly base: (key: StateKey) => EventId | undefined
  readonly resolved: Map<StateKey, EventId>
  readonly events: EventSource
}

/** Iterative auth checks: each event that the state so far allows becomes part of it. */
function applyInOrder(ordered: readonly Pdu[], checks: AuthChecks): void {
  const { rules, create, base, resolved, events } = checks
  const usable = (id: EventId | undefined) =>
    id === undefined || events.isRejected(id) ? undefined : events.event(id)
  for (const event of ordered) {
    if (event.stateKey === undefined) continue
    const verdict = authorize(event, rules, (type, stateKey) => {
      if (create !== undefined && type === 'm.room.create') return create
      const key = stateKeyOf(type, stateKey)
      // What the state lacks is taken from the event's own auth events, unless it was rejected.
      return usable(resolved.get(key) ?? base(key)) ?? ownAuthEvent(event, type, stateKey, usable)
    })
    if (verdict.kind === 'allow')
      resolved.set(stateKeyOf(event.type, event.stateKey), event.eventId)
  }
}

function ownAuthEvent(
  event: Pdu,
  type: string,
  stateKey: string,
  usable: (id: EventId) => Pdu | undefined,
): Pdu | undefined {
  for (const id of event.authEvents) {
    const authEvent = usable(id)
    if (authEvent?.type === type && authEvent.stateKey === stateKey) return authEvent
  }
  return undefined
}
