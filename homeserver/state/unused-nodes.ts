import type { Database } from '../database/database.ts'
import { deleteNodes, nodesOf } from './queries.ts'
import { decodeNode, type NodeId } from './trie.ts'

/** Nodes that are read, or deleted, by one statement. */
const nodesMax = 1_000

/** Every node of these snapshots that is not known, nor below one that is. */
export async function nodesUnder(
  db: Database,
  roots: readonly NodeId[],
  known: ReadonlySet<NodeId>,
): Promise<Set<NodeId>> {
  const found = new Set<NodeId>()
  let front = roots
  while (front.length > 0) {
    const fresh = [...new Set(front)].filter((id) => id !== 0 && !known.has(id) && !found.has(id))
    const next: NodeId[] = []
    for (let at = 0; at < fresh.length; at += nodesMax) {
      for (const [id, text] of await nodesOf(db, fresh.slice(at, at + nodesMax))) {
        found.add(id)
        for (const slot of decodeNode(text).values()) if ('child' in slot) next.push(slot.child)
      }
    }
    front = next
  }
  return found
}

/** Deletes nodes that no snapshot refers to any more. */
export async function dropNodes(db: Database, ids: readonly NodeId[]): Promise<void> {
  for (let at = 0; at < ids.length; at += nodesMax) {
    await deleteNodes(db, ids.slice(at, at + nodesMax))
  }
}
