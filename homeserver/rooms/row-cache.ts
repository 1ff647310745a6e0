import { LRUCache } from 'lru-cache'
import type { MembershipRow } from './rooms.ts'

/** Rows kept of one cache. */
const rowsMax = 500_000

export type Rows<I extends string> = ReadonlyMap<I, MembershipRow>

/**
 * Membership rows by an outer and an inner key: loaded on first use, changed in place by the log's tail. A load that a
 * change overtook is answered and not kept.
 */
export class RowCache<K extends string, I extends string> {
  readonly #load: (key: K) => Promise<Map<I, MembershipRow>>
  readonly #kept = new LRUCache<K, Map<I, MembershipRow>>({
    maxSize: rowsMax,
    sizeCalculation: (rows) => rows.size + 4,
  })
  readonly #loading = new Map<K, Promise<Map<I, MembershipRow>>>()
  /** How often who is joined has changed, of rows that are kept. */
  readonly #changes = new WeakMap<Rows<I>, number>()

  constructor(load: (key: K) => Promise<Map<I, MembershipRow>>) {
    this.#load = load
  }

  peek(key: K): Rows<I> | undefined {
    return this.#kept.get(key)
  }

  get(key: K): Promise<Rows<I>> {
    const kept = this.#kept.get(key)
    if (kept !== undefined) return Promise.resolve(kept)
    return this.#loading.get(key) ?? this.#read(key)
  }

  /** Says whether rows that were read before still tell who is joined: the same number for the same rows. */
  stampOf(key: K, rows: Rows<I>): number | undefined {
    return this.#kept.peek(key) === rows ? (this.#changes.get(rows) ?? 0) : undefined
  }

  /** Puts a row that the log brought. Answers the rows it belongs to when who is joined has changed with it. */
  change(
    key: K,
    inner: I,
    next: (before: MembershipRow | undefined) => MembershipRow,
  ): Rows<I> | undefined {
    this.#loading.delete(key)
    const rows = this.#kept.peek(key)
    if (rows === undefined) return undefined
    const before = rows.get(inner)
    const after = next(before)
    rows.set(inner, after)
    // The cache has to know how much more it weighs.
    if (before === undefined) this.#kept.set(key, rows)
    if ((before?.membership === 'join') === (after.membership === 'join')) return undefined
    this.#changes.set(rows, (this.#changes.get(rows) ?? 0) + 1)
    return rows
  }

  drop(key: K): void {
    this.#loading.delete(key)
    this.#kept.delete(key)
  }

  clear(): void {
    this.#loading.clear()
    this.#kept.clear()
  }

  async #read(key: K): Promise<Map<I, MembershipRow>> {
    const load = this.#load(key)
    this.#loading.set(key, load)
    try {
      const rows = await load
      if (this.#loading.get(key) === load) this.#kept.set(key, rows)
      return rows
    } finally {
      if (this.#loading.get(key) === load) this.#loading.delete(key)
    }
  }
}
