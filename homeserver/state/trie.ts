/**
 * A room's state as an immutable trie over hashes of (type, state key), fan-out 64. A changed key makes new nodes
 * along one path; everything else is shared by reference, so two snapshots are compared only where they differ.
 * This file is pure but for the node source it is given.
 */
import { createHash } from 'node:crypto'
import type { StateKey } from '../../spec/events/event.ts'

/** Number of a node; 0 is the empty trie. */
export type NodeId = number

/** An entry: the events (by number) of all keys with this hash; nearly always one. */
export interface Leaf {
  readonly hash: string
  readonly nrs: readonly number[]
}

/** A reference to a deeper node. */
export interface Child {
  readonly child: NodeId
}

/** A slot holds a deeper node or a leaf. */
export type Slot = Child | Leaf

/** A node: its taken slots, by index 0–63. */
export type Node = ReadonlyMap<number, Slot>

/** Where nodes come from, and which key an event stands at (only asked when two keys share a hash). */
export interface NodeSource {
  node(id: NodeId): Promise<Node>
  keyOf(nr: number): Promise<StateKey>
}

/** A snapshot that a change made, with the nodes that have to be stored before it may be referred to. */
export interface Update {
  readonly root: NodeId
  readonly nodes: ReadonlyMap<NodeId, Node>
}

const hexPerLevel = 2
const hashHexDigits = 32

/**
 * Hash of a key: 16 bytes of SHA-256 in hex. Two hex digits (8 bits) are taken per level and folded to 6 bits, so
 * there are 16 levels; keys whose whole hash is equal share a leaf.
 */
export function hashOfKey(key: StateKey): string {
  return createHash('sha256').update(key).digest('hex').slice(0, hashHexDigits)
}

/** Slot of a hash at a level. */
function slotAt(hash: string, level: number): number {
  const from = level * hexPerLevel
  return Number.parseInt(hash.slice(from, from + hexPerLevel), 16) & 63
}

const empty: Node = new Map()

/** Gives a node of the update under way that may be changed: itself, or a copy under a new number. */
type Writable = (id: NodeId) => Promise<[NodeId, Map<number, Slot>]>

function isChild(slot: Slot): slot is Child {
  return 'child' in slot
}

/** The event at a key. */
export async function lookup(
  source: NodeSource,
  root: NodeId,
  key: StateKey,
): Promise<number | undefined> {
  const hash = hashOfKey(key)
  let id = root
  for (let level = 0; id !== 0; level++) {
    const slot = (await source.node(id)).get(slotAt(hash, level))
    if (slot === undefined) return undefined
    if (isChild(slot)) {
      id = slot.child
      continue
    }
    return slot.hash === hash ? await pick(source, slot, key) : undefined
  }
  return undefined
}

async function pick(source: NodeSource, leaf: Leaf, key: StateKey): Promise<number | undefined> {
  for (const nr of leaf.nrs)
    if (leaf.nrs.length === 1 || (await source.keyOf(nr)) === key) return nr
  return undefined
}

/**
 * Sets keys to events; a key without one is removed. `nextId` gives numbers for new nodes. Nodes made on the way and replaced again by a later
 * change of the same call are not in the result.
 */
export async function update(
  source: NodeSource,
  root: NodeId,
  changes: ReadonlyMap<StateKey, number | undefined>,
  nextId: () => NodeId,
): Promise<Update> {
  const fresh = new Map<NodeId, Map<number, Slot>>()
  const read: NodeSource = {
    node: async (id) => fresh.get(id) ?? (await source.node(id)),
    keyOf: (nr) => source.keyOf(nr),
  }
  const writable: Writable = async (id) => {
    const own = fresh.get(id)
    if (own !== undefined) return [id, own]
    const copy = new Map(id === 0 ? empty : await read.node(id))
    const newId = nextId()
    fresh.set(newId, copy)
    return [newId, copy]
  }
  let top = root
  for (const [key, nr] of changes) {
    if (nr !== undefined) top = await set(read, writable, top, key, nr)
    else if ((await lookup(read, top, key)) !== undefined)
      top = await remove(read, writable, top, key)
  }
  return { root: top, nodes: fresh }
}

async function set(
  source: NodeSource,
  writable: Writable,
  root: NodeId,
  key: StateKey,
  nr: number,
): Promise<NodeId> {
  const hash = hashOfKey(key)
  const [newRoot, rootSlots] = await writable(root)
  let slots = rootSlots
  for (let level = 0; ; level++) {
    const index = slotAt(hash, level)
    const slot = slots.get(index)
    if (slot === undefined) {
      slots.set(index, { hash, nrs: [nr] })
      return newRoot
    }
    if (isChild(slot)) {
      const [child, childSlots] = await writable(slot.child)
      slots.set(index, { child })
      slots = childSlots
      continue
    }
    if (slot.hash === hash) {
      slots.set(index, { hash, nrs: await replaced(source, slot, key, nr) })
      return newRoot
    }
    const [child, childSlots] = await writable(0)
    childSlots.set(slotAt(slot.hash, level + 1), slot)
    slots.set(index, { child })
    slots = childSlots
  }
}

/** Takes out a key that is there; nodes that become empty stay. */
async function remove(
  source: NodeSource,
  writable: Writable,
  root: NodeId,
  key: StateKey,
): Promise<NodeId> {
  const hash = hashOfKey(key)
  const [newRoot, rootSlots] = await writable(root)
  let slots = rootSlots
  for (let level = 0; ; level++) {
    const index = slotAt(hash, level)
    const slot = slots.get(index)
    if (slot === undefined) return newRoot
    if (isChild(slot)) {
      const [child, childSlots] = await writable(slot.child)
      slots.set(index, { child })
      slots = childSlots
      continue
    }
    const nrs: number[] = []
    if (slot.nrs.length > 1)
      for (const nr of slot.nrs) if ((await source.keyOf(nr)) !== key) nrs.push(nr)
    if (nrs.length === 0) slots.delete(index)
    else slots.set(index, { hash, nrs })
    return newRoot
  }
}

async function replaced(
  source: NodeSource,
  leaf: Leaf,
  key: StateKey,
  nr: number,
): Promise<readonly number[]> {
  const others: number[] = []
  for (const old of leaf.nrs) if (old !== nr && (await source.keyOf(old)) !== key) others.push(old)
  return [...others, nr]
}

/** Every event of a snapshot. */
export async function entries(source: NodeSource, root: NodeId): Promise<number[]> {
  const found: number[] = []
  await collect(source, root, found)
  return found
}

async function collect(source: NodeSource, id: NodeId, into: number[]): Promise<void> {
  if (id === 0) return
  for (const slot of (await source.node(id)).values()) {
    if (isChild(slot)) await collect(source, slot.child, into)
    else into.push(...slot.nrs)
  }
}

/** Events of `to` that are not in `from`, and of `from` that are not in `to`; shared nodes are not read. */
export async function difference(
  source: NodeSource,
  from: NodeId,
  to: NodeId,
): Promise<{ added: number[]; removed: number[] }> {
  const added = new Set<number>()
  const removed = new Set<number>()
  await compare(source, from, to, added, removed)
  for (const nr of added) if (removed.delete(nr)) added.delete(nr)
  return { added: [...added], removed: [...removed] }
}

async function compare(
  source: NodeSource,
  from: NodeId,
  to: NodeId,
  added: Set<number>,
  removed: Set<number>,
): Promise<void> {
  if (from === to) return
  const left = from === 0 ? empty : await source.node(from)
  const right = to === 0 ? empty : await source.node(to)
  for (const [index, slot] of right)
    await compareSlot(source, left.get(index), slot, added, removed)
  for (const [index, slot] of left)
    if (!right.has(index)) await compareSlot(source, slot, undefined, added, removed)
}

async function compareSlot(
  source: NodeSource,
  left: Slot | undefined,
  right: Slot | undefined,
  added: Set<number>,
  removed: Set<number>,
): Promise<void> {
  if (left !== undefined && right !== undefined && isChild(left) && isChild(right)) {
    await compare(source, left.child, right.child, added, removed)
    return
  }
  for (const nr of await numbersOf(source, right)) added.add(nr)
  for (const nr of await numbersOf(source, left)) removed.add(nr)
}

async function numbersOf(source: NodeSource, slot: Slot | undefined): Promise<readonly number[]> {
  if (slot === undefined) return []
  return isChild(slot) ? await entries(source, slot.child) : slot.nrs
}

/** Text of a node for the database: `slot:child` or `slot=hash,nr[,nr…]`, separated by blanks. */
export function encodeNode(node: Node): string {
  const parts: string[] = []
  for (const [index, slot] of node) {
    parts.push(
      isChild(slot) ? `${index}:${slot.child}` : `${index}=${slot.hash},${slot.nrs.join(',')}`,
    )
  }
  return parts.join(' ')
}

/** Reads what `encodeNode` wrote. */
export function decodeNode(text: string): Node {
  const node = new Map<number, Slot>()
  for (const part of text === '' ? [] : text.split(' ')) {
    const colon = part.indexOf(':')
    if (colon > 0) {
      node.set(Number(part.slice(0, colon)), { child: Number(part.slice(colon + 1)) })
      continue
    }
    const equals = part.indexOf('=')
    const [hash = '', ...nrs] = part.slice(equals + 1).split(',')
    node.set(Number(part.slice(0, equals)), { hash, nrs: nrs.map(Number) })
  }
  return node
}
