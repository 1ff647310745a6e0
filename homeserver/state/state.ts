/**
 * State snapshots: the trie of trie.ts over the table `state_nodes`, with a bounded cache of nodes. Nodes are
 * immutable, so the cache is never stale; a node whose write was refused is never referred to.
 */
import { type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import type { RoomId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Database, Db } from '../database/database.ts'
import { createCache } from '../platform/cache.ts'
import { currentStateOf, currentStateOfTypes, deleteCurrentState, nodesOf } from './queries.ts'
import {
  build,
  decodeNode,
  difference,
  encodeNode,
  entries,
  lookup,
  type Node,
  type NodeId,
  type NodeSource,
  type Update,
  update,
} from './trie.ts'

const cacheBytesMax = 64 * 1024 * 1024
const slotBytes = 120

export interface Snapshots {
  lookup(root: NodeId, key: StateKey): Promise<number | undefined>
  entries(root: NodeId): Promise<number[]>
  difference(from: NodeId, to: NodeId): Promise<{ added: number[]; removed: number[] }>
  /** The snapshot with some keys changed (undefined: removed), and the rows of its new nodes. */
  update(root: NodeId, changes: ReadonlyMap<StateKey, number | undefined>): Promise<Changed>
  /** A snapshot of many keys at once; takes as many numbers as it needs. */
  create(entries: ReadonlyMap<StateKey, number>): Promise<Changed>
}

export interface Changed {
  readonly root: NodeId
  /** For `log_apply_state_nodes`. */
  readonly rows: readonly JsonObject[]
}

export interface SnapshotNeeds {
  readonly db: Database
  /** Gives a number for a new node. */
  readonly nextId: () => NodeId
  /** Resolves when so many numbers can be had at once. */
  readonly reserve: (count: number) => Promise<void>
  /** Which key a stored event stands at. */
  readonly keyOf: (nr: number) => Promise<StateKey>
}

export function createSnapshots({ db, nextId, reserve, keyOf }: SnapshotNeeds): Snapshots {
  const cache = createCache<NodeId, Node>({
    bound: { bytesMax: cacheBytesMax, sizeOf: (node) => node.size * slotBytes },
    load: async (ids) => {
      const texts = await nodesOf(db, ids)
      return new Map([...texts].map(([id, text]) => [id, decodeNode(text)]))
    },
  })
  const source: NodeSource = {
    keyOf,
    async node(id) {
      const node = await cache.get(id)
      if (node === undefined) throw new Error(`state node ${id} is missing`)
      return node
    },
  }
  function changed({ root, nodes }: Update): Changed {
    const rows: JsonObject[] = []
    for (const [id, node] of nodes) {
      cache.set(id, node)
      rows.push({ id, slots: encodeNode(node) })
    }
    return { root, rows }
  }

  return {
    lookup: (root, key) => lookup(source, root, key),
    entries: (root) => entries(source, root),
    difference: (from, to) => difference(source, from, to),
    async update(root, changes) {
      if (changes.size === 0) return { root, rows: [] }
      return changed(await update(source, root, changes, nextId))
    },
    async create(all) {
      const built = await build(all)
      await reserve(built.count)
      return changed(built.numbered(nextId))
    },
  }
}

/** Which event holds each key of a room's current state, as it is stored. */
export async function readCurrentState(db: Db, room: RoomId): Promise<Map<StateKey, number>> {
  const state = new Map<StateKey, number>()
  for (const { type, state_key, event_nr } of await currentStateOf(db, room)) {
    state.set(stateKeyOf(type, state_key), event_nr)
  }
  return state
}

/** Which events hold the entries of certain types with an empty state key, of many rooms. */
export async function readCurrentTypes(
  db: Db,
  rooms: readonly RoomId[],
  types: readonly string[],
): Promise<readonly { readonly room: string; readonly type: string; readonly nr: number }[]> {
  const rows = await currentStateOfTypes(db, rooms, types)
  return rows.map(({ room_id: room, type, event_nr: nr }) => ({ room, type, nr }))
}

/** Forgets the current state of a room that is not here, such as what an import that failed has left. */
export async function clearCurrentState(db: Db, room: RoomId): Promise<void> {
  await deleteCurrentState(db, room)
}
