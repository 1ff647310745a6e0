/**
 * What snapshots of a room's state disagree about, read from where they differ: the work grows with the conflict and
 * not with the state.
 */
import { type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import type { EventId } from '../../spec/ids.ts'
import type { Snapshots } from '../state/state.ts'
import type { StateRoot, StoredEvent } from './stored-event.ts'

export type FindNumbers = (nrs: readonly number[]) => Promise<ReadonlyMap<number, StoredEvent>>

export interface SnapshotConflict {
  readonly first: StateRoot
  /** For each key that is in conflict the event of each snapshot, in their order; undefined where it has none. */
  readonly keys: ReadonlyMap<StateKey, readonly (StoredEvent | undefined)[]>
}

/** Compares a snapshot with others. */
export async function conflictOf(
  snapshots: Snapshots,
  first: StateRoot,
  others: readonly StateRoot[],
  byNumber: FindNumbers,
): Promise<SnapshotConflict> {
  const inFirst = new Map<StateKey, StoredEvent>()
  const changes: Map<StateKey, StoredEvent | undefined>[] = []
  for (const other of others) {
    const { added, removed } = await snapshots.difference(first, other)
    const found = await byNumber([...removed, ...added])
    const changed = new Map<StateKey, StoredEvent | undefined>()
    for (const nr of removed) {
      const event = required(found, nr)
      inFirst.set(keyOf(event), event)
      changed.set(keyOf(event), undefined)
    }
    for (const nr of added) changed.set(keyOf(required(found, nr)), required(found, nr))
    changes.push(changed)
  }
  const keys = new Map<StateKey, readonly (StoredEvent | undefined)[]>()
  for (const key of new Set(changes.flatMap((changed) => [...changed.keys()]))) {
    const own = inFirst.get(key)
    keys.set(key, [own, ...changes.map((each) => (each.has(key) ? each.get(key) : own))])
  }
  return { first, keys }
}

/** Reads what every snapshot has, with the same event. */
export function sharedState(
  snapshots: Snapshots,
  { first, keys }: SnapshotConflict,
): (key: StateKey) => Promise<number | undefined> {
  return (key) => (keys.has(key) ? Promise.resolve(undefined) : snapshots.lookup(first, key))
}

/** The events in conflict of each snapshot, in their order. */
export function eventsOf({ keys }: SnapshotConflict): StoredEvent[][] {
  const sets: StoredEvent[][] = []
  for (const events of keys.values()) {
    for (const [at, event] of events.entries()) {
      const set = sets[at] ?? []
      sets[at] = set
      if (event !== undefined) set.push(event)
    }
  }
  return sets
}

/** The key that a state event stands at. */
export function keyOf({ pdu }: StoredEvent): StateKey {
  return stateKeyOf(pdu.type, pdu.stateKey ?? '')
}

function required(found: ReadonlyMap<number, StoredEvent>, nr: number): StoredEvent {
  const event = found.get(nr)
  if (event === undefined) throw new Error(`event ${nr} of a snapshot is missing`)
  return event
}

/** Everything that can be reached from these along auth events, as far as it was loaded. */
export function authChainOf(
  ids: Iterable<EventId>,
  events: ReadonlyMap<EventId, StoredEvent>,
): Set<EventId> {
  const chain = new Set<EventId>()
  const open = [...ids]
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    for (const next of events.get(id)?.pdu.authEvents ?? []) {
      if (chain.has(next)) continue
      chain.add(next)
      open.push(next)
    }
  }
  return chain
}
