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

/** Levels of the trie: keys that go the same way through all of them share a leaf. */
const levels = 10
const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const slotOfDigit = new Map([...digits].map((digit, slot) => [digit.charCodeAt(0), slot]))

/** Hash of a key: its slots from level to level, one digit each, six bits of each of the first bytes of its SHA-256. */
export function hashOfKey(key: StateKey): string {
  return digitsOf(createHash('sha256').update(key).digest())
}

function digitsOf(bytes: Uint8Array): string {
  let hash = ''
  for (const byte of bytes.subarray(0, levels)) hash += digits[byte & 63]
  return hash
}

/** Slot of a hash at a level. */
function slotAt(hash: string, level: number): number {
  return slotOfDigit.get(hash.charCodeAt(level)) ?? 0
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

/** Where a key's way down the trie ends: at a leaf, or at a slot that nothing has taken. */
interface End {
  readonly root: NodeId
  readonly slots: Map<number, Slot>
  readonly level: number
  readonly index: number
  readonly leaf: Leaf | undefined
}

/** Goes down the way of a hash; every node on it may be changed afterwards. */
async function walk(writable: Writable, from: NodeId, hash: string): Promise<End> {
  const [root, top] = await writable(from)
  let slots = top
  for (let level = 0; ; level++) {
    const index = slotAt(hash, level)
    const slot = slots.get(index)
    if (slot === undefined || !isChild(slot)) return { root, slots, level, index, leaf: slot }
    const [child, childSlots] = await writable(slot.child)
    slots.set(index, { child })
    slots = childSlots
  }
}

async function set(
  source: NodeSource,
  writable: Writable,
  from: NodeId,
  key: StateKey,
  nr: number,
): Promise<NodeId> {
  const hash = hashOfKey(key)
  const { root, leaf, ...end } = await walk(writable, from, hash)
  let { slots, level, index } = end
  if (leaf?.hash === hash) {
    slots.set(index, { hash, nrs: await replaced(source, leaf, key, nr) })
    return root
  }
  if (leaf !== undefined) {
    // Deeper nodes for both, down to where they part.
    do {
      const [child, childSlots] = await writable(0)
      slots.set(index, { child })
      slots = childSlots
      level++
      index = slotAt(hash, level)
    } while (slotAt(leaf.hash, level) === index)
    slots.set(slotAt(leaf.hash, level), leaf)
  }
  slots.set(index, { hash, nrs: [nr] })
  return root
}

/** Takes out a key that is there; nodes that become empty stay. */
async function remove(
  source: NodeSource,
  writable: Writable,
  from: NodeId,
  key: StateKey,
): Promise<NodeId> {
  const hash = hashOfKey(key)
  const { root, slots, index, leaf } = await walk(writable, from, hash)
  const nrs: number[] = []
  if (leaf !== undefined && leaf.nrs.length > 1)
    for (const nr of leaf.nrs) if ((await source.keyOf(nr)) !== key) nrs.push(nr)
  if (nrs.length === 0) slots.delete(index)
  else slots.set(index, { hash, nrs })
  return root
}

/**
 * A new snapshot of many keys, as `update` of the empty one would make it. What it needs of numbers is known before
 * any is taken: `numbered` gives the nodes theirs.
 */
export interface Built {
  readonly count: number
  numbered(nextId: () => NodeId): Update
}

/** Keys hashed at a stretch before others get their turn. */
const hashedAtOnce = 4_000

/** Prepares a snapshot of all these keys. */
export async function build(entries: ReadonlyMap<StateKey, number>): Promise<Built> {
  const leaves = new Map<string, number[]>()
  let done = 0
  for (const [key, nr] of entries) {
    const hash = hashOfKey(key)
    const shared = leaves.get(hash)
    if (shared === undefined) leaves.set(hash, [nr])
    else shared.push(nr)
    if (++done % hashedAtOnce === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  const all = [...leaves].map(([hash, nrs]): Leaf => ({ hash, nrs }))
  const top = all.length === 0 ? undefined : branch(all, 0)
  return {
    count: top?.count ?? 0,
    numbered(nextId) {
      const nodes = new Map<NodeId, Node>()
      return { root: top === undefined ? 0 : numberBranch(top, nextId, nodes), nodes }
    },
  }
}

/** A node that has no number yet. */
interface Branch {
  readonly slots: ReadonlyMap<number, Branch | Leaf>
  /** Of itself and all below. */
  readonly count: number
}

function branch(leaves: readonly Leaf[], level: number): Branch {
  const groups = new Map<number, Leaf[]>()
  for (const leaf of leaves) {
    const index = slotAt(leaf.hash, level)
    const group = groups.get(index)
    if (group === undefined) groups.set(index, [leaf])
    else group.push(leaf)
  }
  const slots = new Map<number, Branch | Leaf>()
  let count = 1
  for (const [index, group] of groups) {
    const [first] = group
    if (first === undefined) continue
    const slot = group.length === 1 ? first : branch(group, level + 1)
    if ('count' in slot) count += slot.count
    slots.set(index, slot)
  }
  return { slots, count }
}

function numberBranch(top: Branch, nextId: () => NodeId, into: Map<NodeId, Node>): NodeId {
  const node = new Map<number, Slot>()
  for (const [index, slot] of top.slots) {
    node.set(index, 'hash' in slot ? slot : { child: numberBranch(slot, nextId, into) })
  }
  const id = nextId()
  into.set(id, node)
  return id
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
    // Nodes of before have 16 bytes of the SHA-256 in hex.
    const way = hash.length === levels ? hash : digitsOf(Buffer.from(hash, 'hex'))
    node.set(Number(part.slice(0, equals)), { hash: way, nrs: nrs.map(Number) })
  }
  return node
}
