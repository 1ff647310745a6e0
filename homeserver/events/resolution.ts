/** State resolution over stored events: loads what the pure algorithm looks at, and stores what it decided. */
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import { createIdOfRoom, type EventId, type RoomId } from '../../spec/ids.ts'
import { authEventKeys } from '../../spec/room/auth-events.ts'
import { type EventSource, resolveState, type StateMap } from '../../spec/room/resolve.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Database } from '../database/database.ts'
import type { Changed, Snapshots } from '../state/state.ts'
import { authDifference } from './auth-difference.ts'
import {
  authChainOf,
  conflictOf,
  eventsOf,
  type FindNumbers,
  keyOf,
  sharedState,
} from './conflict.ts'
import { createConflictResolution } from './resolution-pool.ts'
import type { StateRoot, StoredEvent } from './stored-event.ts'

export type { FindNumbers } from './conflict.ts'
export type Find = (ids: readonly EventId[]) => Promise<ReadonlyMap<EventId, StoredEvent>>

/** How a resolution reads events. */
interface Reading {
  readonly find: Find
  readonly byNumber: FindNumbers
  /** Events that are accepted and not yet stored. */
  readonly pending: Iterable<StoredEvent>
}

export interface Resolver {
  /** The state that several snapshots come to, with the rows of nodes that it needs. */
  resolve(
    room: RoomId,
    rules: RoomVersionRules,
    roots: readonly StateRoot[],
    find: Find,
    byNumber: FindNumbers,
    pending?: Iterable<StoredEvent>,
  ): Promise<Changed>
}

/** Events of auth chains that one resolution loads; past it the room is not resolved. */
const chainMax = 50_000

const createKey = stateKeyOf('m.room.create', '')
const powerLevelsKey = stateKeyOf('m.room.power_levels', '')

export function createResolver(needs: {
  readonly db: Database
  readonly snapshots: Snapshots
}): Resolver {
  const { db, snapshots } = needs
  const decide = createConflictResolution()

  async function resolveDifferences(
    room: RoomId,
    rules: RoomVersionRules,
    [first, ...others]: readonly [StateRoot, ...StateRoot[]],
    { find, byNumber, pending }: Reading,
  ): Promise<Changed> {
    const conflict = await conflictOf(snapshots, first, others, byNumber)
    if (conflict.keys.size === 0) return { root: first, rows: [] }
    const sets = eventsOf(conflict)
    const events = new Map<EventId, StoredEvent>()
    for (const event of sets.flat()) events.set(event.pdu.eventId, event)
    const conflicted = new Set(events.keys())
    const shared = sharedState(snapshots, conflict)
    const base = await loadBase([createKey, powerLevelsKey], shared, byNumber, events)
    const create = rules.createHashRoomId ? createIdOfRoom(room) : undefined
    await loadChains(events, create === undefined ? [] : [create], find)
    const difference = await authDifference({ db, events, byNumber, shared, pending }, sets)
    const keys = keysAskedFor(rules, [...conflicted, ...difference], events)
    for (const [key, id] of await loadBase(keys, shared, byNumber, events)) base.set(key, id)
    const decided = await decide(rules, { base, conflicted, authDifference: difference }, events)
    const changes = new Map<StateKey, number | undefined>()
    for (const [key, [own]] of conflict.keys)
      if (own !== undefined && !decided.has(key)) changes.set(key, undefined)
    for (const [key, id] of decided) {
      const nr = events.get(id)?.nr
      if (conflict.keys.get(key)?.[0]?.nr !== nr) changes.set(key, nr)
    }
    return await snapshots.update(first, changes)
  }

  /** Room version 1 looks at whole states; its rooms are old and few. */
  async function resolveWhole(
    rules: RoomVersionRules,
    roots: readonly [StateRoot, ...StateRoot[]],
    { find, byNumber }: Reading,
  ): Promise<Changed> {
    const events = new Map<EventId, StoredEvent>()
    const sets: StateMap[] = []
    for (const root of roots) sets.push(await readSet(root, snapshots, byNumber, events))
    await loadChains(events, [], find)
    const resolved = resolveState(rules, sets, sourceOf(events))
    const [first = new Map()] = sets
    return await snapshots.update(roots[0], changesTo(first, resolved, events))
  }

  return {
    async resolve(room, rules, roots, find, byNumber, pending = []) {
      const [first, ...others] = new Set(roots)
      if (first === undefined) return { root: 0, rows: [] }
      if (others.length === 0) return { root: first, rows: [] }
      const reading = { find, byNumber, pending }
      return rules.stateResolution === 'v1'
        ? await resolveWhole(rules, [first, ...others], reading)
        : await resolveDifferences(room, rules, [first, ...others], reading)
    },
  }
}

/** Keys of the undisputed state that the algorithm may ask for: its own keys, and those of the auth rules. */
function keysAskedFor(
  rules: RoomVersionRules,
  ids: readonly EventId[],
  events: ReadonlyMap<EventId, StoredEvent>,
): Set<StateKey> {
  const keys = new Set<StateKey>()
  for (const id of ids) {
    const event = events.get(id)
    if (event?.pdu.stateKey === undefined) continue
    keys.add(keyOf(event))
    for (const key of authEventKeys(event.pdu, rules)) keys.add(key)
  }
  // v2.1: what lies between two events in conflict is replayed too, and is somewhere in their chains.
  if (rules.stateResolution === 'v2.1') for (const event of events.values()) keys.add(keyOf(event))
  return keys
}

/** The undisputed events at some keys; they are put to the others. */
async function loadBase(
  keys: Iterable<StateKey>,
  shared: (key: StateKey) => Promise<number | undefined>,
  byNumber: FindNumbers,
  into: Map<EventId, StoredEvent>,
): Promise<Map<StateKey, EventId>> {
  const base = new Map<StateKey, EventId>()
  const nrs: number[] = []
  for (const key of keys) {
    const nr = await shared(key)
    if (nr !== undefined) nrs.push(nr)
  }
  for (const event of (await byNumber(nrs)).values()) {
    into.set(event.pdu.eventId, event)
    base.set(keyOf(event), event.pdu.eventId)
  }
  return base
}

async function readSet(
  root: StateRoot,
  snapshots: Snapshots,
  byNumber: FindNumbers,
  into: Map<EventId, StoredEvent>,
): Promise<StateMap> {
  const set = new Map<StateKey, EventId>()
  for (const event of (await byNumber(await snapshots.entries(root))).values()) {
    const { eventId, type, stateKey } = event.pdu
    into.set(eventId, event)
    if (stateKey !== undefined) set.set(stateKeyOf(type, stateKey), eventId)
  }
  return set
}

/** Loads everything that can be reached along auth events, level by level. */
export async function loadChains(
  events: Map<EventId, StoredEvent>,
  extra: readonly EventId[],
  find: Find,
): Promise<void> {
  let wanted = new Set<EventId>(extra)
  for (const { pdu } of events.values()) for (const id of pdu.authEvents) wanted.add(id)
  while (wanted.size > 0) {
    const absent = [...wanted].filter((id) => !events.has(id))
    wanted = new Set()
    if (absent.length === 0) return
    for (const [id, event] of await find(absent)) {
      events.set(id, event)
      for (const next of event.pdu.authEvents) if (!events.has(next)) wanted.add(next)
    }
    if (events.size > chainMax) throw new Error(`an auth chain is longer than ${chainMax} events`)
  }
}

/** The pure algorithm's view of loaded events. */
export function sourceOf(events: ReadonlyMap<EventId, StoredEvent>): EventSource {
  return {
    event: (id): Pdu | undefined => events.get(id)?.pdu,
    isRejected: (id) => events.get(id)?.rejected !== undefined,
    authChain: (ids) => authChainOf(ids, events),
  }
}

function changesTo(
  from: StateMap,
  to: StateMap,
  events: ReadonlyMap<EventId, StoredEvent>,
): Map<StateKey, number | undefined> {
  const changes = new Map<StateKey, number | undefined>()
  for (const [key, id] of to) if (from.get(key) !== id) changes.set(key, events.get(id)?.nr)
  for (const key of from.keys()) if (!to.has(key)) changes.set(key, undefined)
  return changes
}
