import { LRUCache } from 'lru-cache'

/** A bound in entries, or in bytes by a measure of each value. */
export type CacheBound<V> =
  | { readonly entriesMax: number }
  | { readonly bytesMax: number; readonly sizeOf: (value: V) => number }

export interface CacheOptions<K extends string | number, V extends object> {
  readonly bound: CacheBound<V>
  /**
   * Reads many keys at once; what it leaves out does not exist. Keys that are asked for in the same turn of the
   * event loop are read together, at most `batchMax` at a time.
   */
  readonly load: (keys: readonly K[]) => Promise<ReadonlyMap<K, V>>
  readonly batchMax?: number
}

/** Numbers for /metrics. */
export interface CacheCounts {
  readonly hits: number
  readonly misses: number
  readonly entries: number
}

/** A bounded cache over a loader; the values are shared and must not be changed. */
export interface Cache<K extends string | number, V extends object> {
  /** From memory, or loaded; undefined when the loader does not know the key. That is not remembered. */
  get(key: K): Promise<V | undefined>
  getMany(keys: readonly K[]): Promise<Map<K, V>>
  /** From memory only. */
  peek(key: K): V | undefined
  /** Puts a value that is newer than whatever is being loaded. */
  set(key: K, value: V): void
  /** Forgets a key; a load of it that has begun is answered to those who wait, and not kept. */
  invalidate(key: K): void
  clear(): void
  counts(): CacheCounts
}

const batchMaxDefault = 500
/** What a cached value weighs at least: its key and its place in the cache. */
const overheadBytes = 128

interface Waiter<V> {
  readonly resolve: (value: V | undefined) => void
  readonly reject: (error: unknown) => void
}

/** Makes a cache. */
export function createCache<K extends string | number, V extends object>(
  options: CacheOptions<K, V>,
): Cache<K, V> {
  return new LoadingCache(options)
}

class LoadingCache<K extends string | number, V extends object> implements Cache<K, V> {
  readonly #options: CacheOptions<K, V>
  readonly #kept: LRUCache<K, V>
  /** Loads by key; one that is no longer here when it ends is not kept. */
  readonly #loading = new Map<K, Promise<V | undefined>>()
  /** Loads that have not been sent yet. */
  #wanted = new Map<K, Waiter<V>>()
  #hits = 0
  #misses = 0

  constructor(options: CacheOptions<K, V>) {
    this.#options = options
    this.#kept = new LRUCache(limits(options.bound))
  }

  get(key: K): Promise<V | undefined> {
    const found = this.#kept.get(key)
    if (found !== undefined) {
      this.#hits++
      return Promise.resolve(found)
    }
    this.#misses++
    return this.#loading.get(key) ?? this.#enqueue(key)
  }

  async getMany(keys: readonly K[]): Promise<Map<K, V>> {
    const found = new Map<K, V>()
    const load = async (key: K) => {
      const value = await this.get(key)
      if (value !== undefined) found.set(key, value)
    }
    await Promise.all(keys.map(load))
    return found
  }

  peek(key: K): V | undefined {
    return this.#kept.peek(key)
  }

  set(key: K, value: V): void {
    this.#loading.delete(key)
    const waiter = this.#wanted.get(key)
    this.#wanted.delete(key)
    waiter?.resolve(value)
    this.#kept.set(key, value)
  }

  invalidate(key: K): void {
    this.#kept.delete(key)
    // A load that has not been sent yet will read what is newer, and may be kept.
    if (!this.#wanted.has(key)) this.#loading.delete(key)
  }

  clear(): void {
    for (const key of [...this.#loading.keys()]) this.invalidate(key)
    this.#kept.clear()
  }

  counts(): CacheCounts {
    return { hits: this.#hits, misses: this.#misses, entries: this.#kept.size }
  }

  #enqueue(key: K): Promise<V | undefined> {
    const promise: Promise<V | undefined> = new Promise<V | undefined>((resolve, reject) => {
      if (this.#wanted.size === 0) queueMicrotask(() => this.#flush())
      this.#wanted.set(key, { resolve, reject })
    }).finally(() => {
      if (this.#loading.get(key) === promise) this.#loading.delete(key)
    })
    this.#loading.set(key, promise)
    return promise
  }

  #flush(): void {
    const batch = [...this.#wanted]
    this.#wanted = new Map()
    const step = this.#options.batchMax ?? batchMaxDefault
    for (let at = 0; at < batch.length; at += step) void this.#read(batch.slice(at, at + step))
  }

  /** Never rejects: who waits hears of a failure. */
  async #read(batch: readonly (readonly [K, Waiter<V>])[]): Promise<void> {
    const begun = new Map(batch.map(([key]) => [key, this.#loading.get(key)]))
    try {
      const values = await this.#options.load(batch.map(([key]) => key))
      for (const [key, waiter] of batch) {
        const value = values.get(key)
        const current = this.#loading.get(key)
        if (value !== undefined && current !== undefined && current === begun.get(key)) {
          this.#kept.set(key, value)
        }
        waiter.resolve(value)
      }
    } catch (error) {
      for (const [, waiter] of batch) waiter.reject(error)
    }
  }
}

/**
 * The bound of an LRUCache in entries. With its own `max` it would take memory for all of them at once, and the caches
 * of a server together have places for more than a million.
 */
export function atMost(entries: number): { maxSize: number; sizeCalculation: () => number } {
  return { maxSize: entries, sizeCalculation: one }
}

function one(): number {
  return 1
}

function limits<K extends string | number, V extends object>(
  bound: CacheBound<V>,
): LRUCache.Options<K, V, unknown> {
  if ('entriesMax' in bound) return atMost(bound.entriesMax)
  return {
    maxSize: bound.bytesMax,
    sizeCalculation: (value) => Math.max(1, Math.ceil(bound.sizeOf(value))) + overheadBytes,
  }
}
