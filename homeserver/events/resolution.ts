/** State resolution over stored events: loads what the pure algorithm looks at, and stores what it decided. */
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import { createIdOfRoom, type EventId, type RoomId } from '../../spec/ids.ts'
import { type EventSource, resolveState, type StateMap } from '../../spec/room/resolve.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Changed, Snapshots } from '../state/state.ts'
import type { StateRoot, StoredEvent } from './stored-event.ts'

export type Find = (ids: readonly EventId[]) => Promise<ReadonlyMap<EventId, StoredEvent>>
export type FindNumbers = (nrs: readonly number[]) => Promise<ReadonlyMap<number, StoredEvent>>

export interface Resolver {
  /** The state that several snapshots come to, with the rows of nodes that it needs. */
  resolve(
    room: RoomId,
    rules: RoomVersionRules,
    roots: readonly StateRoot[],
    find: Find,
    byNumber: FindNumbers,
  ): Promise<Changed>
}

/** Events of auth chains that one resolution loads; past it the room is not resolved. */
const chainMax = 50_000

export function createResolver({ snapshots }: { readonly snapshots: Snapshots }): Resolver {
  return {
    async resolve(room, rules, roots, find, byNumber) {
      const distinct = [...new Set(roots)]
      const [first] = distinct
      if (first === undefined) return { root: 0, rows: [] }
      if (distinct.length === 1) return { root: first, rows: [] }
      const events = new Map<EventId, StoredEvent>()
      const sets: StateMap[] = []
      for (const root of distinct) sets.push(await readSet(root, snapshots, byNumber, events))
      const create = rules.createHashRoomId ? createIdOfRoom(room) : undefined
      await loadChains(events, create === undefined ? [] : [create], find)
      const resolved = resolveState(rules, sets, sourceOf(events))
      return await snapshots.update(first, changesTo(sets[0] ?? new Map(), resolved, events))
    },
  }
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
    authChain(ids) {
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
    },
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
