import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import {
  decodeNode,
  difference,
  encodeNode,
  entries,
  lookup,
  type Node,
  type NodeId,
  type NodeSource,
  update,
} from './trie.ts'

/** Nodes in memory, as text and back like the database keeps them. */
function memory() {
  const texts = new Map<NodeId, string>()
  const keys = new Map<number, StateKey>()
  let last = 0
  let reads = 0
  const source: NodeSource = {
    async node(id) {
      reads++
      const text = texts.get(id)
      if (text === undefined) throw new Error(`node ${id} is missing`)
      return decodeNode(text)
    },
    async keyOf(nr) {
      const key = keys.get(nr)
      if (key === undefined) throw new Error(`event ${nr} is missing`)
      return key
    },
  }
  return {
    source,
    keep: (nodes: ReadonlyMap<NodeId, Node>) => {
      for (const [id, node] of nodes) texts.set(id, encodeNode(node))
    },
    nextId: () => ++last,
    keys,
    get reads() {
      return reads
    },
  }
}

async function set(
  store: ReturnType<typeof memory>,
  root: NodeId,
  changes: ReadonlyMap<StateKey, number | undefined>,
): Promise<NodeId> {
  for (const [key, nr] of changes) if (nr !== undefined) store.keys.set(nr, key)
  const updated = await update(store.source, root, changes, store.nextId)
  store.keep(updated.nodes)
  return updated.root
}

const member = (at: number) => stateKeyOf('m.room.member', `@user${at}:example.org`)
const sorted = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b)

/** A change of some of a few keys; undefined removes. */
const changesArbitrary = fc.array(
  fc.tuple(fc.integer({ min: 0, max: 30 }), fc.option(fc.constant(true), { nil: undefined })),
  { maxLength: 12 },
)

describe('the state trie', () => {
  it('holds what a map would hold, whatever is set and removed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(changesArbitrary, { maxLength: 12 }), async (steps) => {
        const store = memory()
        const model = new Map<StateKey, number>()
        let root = 0
        let nr = 0
        for (const step of steps) {
          const changes = new Map(step.map(([at, is]) => [member(at), is && ++nr]))
          root = await set(store, root, changes)
          for (const [key, to] of changes) {
            if (to === undefined) model.delete(key)
            else model.set(key, to)
          }
        }
        expect(sorted(await entries(store.source, root))).toEqual(sorted([...model.values()]))
        for (let at = 0; at <= 30; at++) {
          expect(await lookup(store.source, root, member(at))).toBe(model.get(member(at)))
        }
      }),
      { numRuns: 60 },
    )
  })

  it('leaves older snapshots as they were', async () => {
    const store = memory()
    const before = await set(
      store,
      0,
      new Map([
        [member(1), 1],
        [member(2), 2],
      ]),
    )
    const after = await set(store, before, new Map([[member(1), 3]]))
    expect(sorted(await entries(store.source, before))).toEqual([1, 2])
    expect(sorted(await entries(store.source, after))).toEqual([2, 3])
  })

  it('tells two snapshots apart by what differs', async () => {
    await fc.assert(
      fc.asyncProperty(changesArbitrary, changesArbitrary, async (first, second) => {
        const store = memory()
        let nr = 0
        const from = await set(store, 0, new Map(first.map(([at]) => [member(at), ++nr])))
        const to = await set(
          store,
          from,
          new Map(second.map(([at, is]) => [member(at), is && ++nr])),
        )
        const [old, now] = [await entries(store.source, from), await entries(store.source, to)]
        const found = await difference(store.source, from, to)
        expect(sorted(found.added)).toEqual(sorted(now.filter((each) => !old.includes(each))))
        expect(sorted(found.removed)).toEqual(sorted(old.filter((each) => !now.includes(each))))
      }),
      { numRuns: 60 },
    )
  })

  it('writes and compares a handful of nodes in a room of twenty thousand members', async () => {
    const store = memory()
    const members = Array.from({ length: 20_000 }, (_, at) => [member(at), at + 1] as const)
    const root = await set(store, 0, new Map(members))
    const changes = new Map([[member(7), 30_000]])
    store.keys.set(30_000, member(7))
    const updated = await update(store.source, root, changes, store.nextId)
    expect(updated.nodes.size).toBeLessThanOrEqual(4)
    store.keep(updated.nodes)
    const before = store.reads
    expect(await difference(store.source, root, updated.root)).toEqual({
      added: [30_000],
      removed: [8],
    })
    expect(store.reads - before).toBeLessThanOrEqual(8)
  })

  it('keeps two keys apart whose hashes are equal', async () => {
    const store = memory()
    // Nobody can make such keys; the leaf is put together by hand.
    const root = await set(store, 0, new Map([[member(1), 1]]))
    const node = new Map(await store.source.node(root))
    for (const [slot, leaf] of node)
      if ('hash' in leaf) node.set(slot, { hash: leaf.hash, nrs: [1, 2] })
    store.keys.set(2, member(2))
    store.keep(new Map([[root, node]]))
    const next = await set(store, root, new Map([[member(1), 3]]))
    expect(sorted(await entries(store.source, next))).toEqual([2, 3])
    expect(await lookup(store.source, next, member(1))).toBe(3)
    const without = await set(store, next, new Map([[member(1), undefined]]))
    expect(await entries(store.source, without)).toEqual([2])
  })
})
