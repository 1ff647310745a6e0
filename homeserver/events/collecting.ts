import type { RoomId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import { dropNodes, nodesUnder } from '../state/unused-nodes.ts'
import { deleteFreedRoots, freedRoots, rootsOfRoom } from './collecting-queries.ts'

/** Snapshots whose nodes are collected at a time. */
const rootsMax = 10_000

/**
 * Deletes the nodes of snapshots to which events referred that are gone, where no other snapshot of the room has them.
 * A snapshot that is being made meanwhile shares nodes only with those that are still referred to. Answers how many
 * nodes went.
 */
export async function collectNodes(db: Database, room: RoomId): Promise<number> {
  let gone = 0
  for (;;) {
    const freed = await freedRoots(db, room, rootsMax)
    if (freed.length === 0) return gone
    const kept = await nodesUnder(db, await rootsOfRoom(db, room), new Set())
    const unused = await nodesUnder(db, freed, kept)
    await dropNodes(db, [...unused])
    await deleteFreedRoots(db, room, freed)
    gone += unused.size
  }
}
