import { LRUCache } from 'lru-cache'
import { atMost } from '../platform/cache.ts'
import type { LogRow, Tail } from './log.ts'

/** A bounded cache of loaded values that the tail keeps true. */
export interface TailedCache<V> {
  /** The value, loaded when absent; callers that ask at the same time share one load. */
  get(key: string): Promise<V>
  /** The value if it is here. */
  peek(key: string): V | undefined
  /** Forgets a value without groups: this process has changed what no log row tells of. */
  drop(key: string): void
}

interface Needs<V extends object> {
  readonly tail: Pick<Tail, 'subscribe'>
  /** Named in `invalidate` rows: their ref is `<name>:<key>`, or `<name>:<group>` when values have groups. */
  readonly name: string
  readonly entriesMax: number
  readonly load: (key: string) => Promise<V>
  /** Values of one group are invalidated together, by the group's name instead of their keys. */
  readonly groupOf?: (value: V) => string
  /** What is not worth a place: an answer about something that does not exist. */
  readonly keep?: (value: V) => boolean
  /** The key (or group) that a row of another kind makes stale. */
  readonly staleBy?: (row: LogRow) => string | undefined
}

/**
 * A load begun before an invalidation of its key passed the tail is not kept: it may have read what was there
 * before. Whoever asks after the invalidation starts a load of their own.
 */
export function createTailedCache<V extends object>(needs: Needs<V>): TailedCache<V> {
  const { groupOf } = needs
  const groups = new Map<string, Set<string>>()
  const loading = new Map<string, Promise<V>>()
  const values = new LRUCache<string, V>({
    ...atMost(needs.entriesMax),
    dispose: (value, key) => groupOf && leaveGroup(groups, groupOf(value), key),
  })
  const prefix = `${needs.name}:`

  function invalidate(name: string): void {
    if (groupOf === undefined) {
      values.delete(name)
      loading.delete(name)
      return
    }
    for (const key of [...(groups.get(name) ?? [])]) values.delete(key)
    // The group of what is being loaded is not known yet.
    loading.clear()
  }

  needs.tail.subscribe(`cache ${needs.name}`, (rows) => {
    for (const row of rows) {
      if (row.kind === 'invalidate') {
        if (row.ref.startsWith(prefix)) invalidate(row.ref.slice(prefix.length))
      } else {
        const stale = needs.staleBy?.(row)
        if (stale !== undefined) invalidate(stale)
      }
    }
  })

  function keep(key: string, value: V): void {
    loading.delete(key)
    if (needs.keep?.(value) === false) return
    values.set(key, value)
    if (groupOf) joinGroup(groups, groupOf(value), key)
  }

  async function loaded(key: string, load: Promise<V>): Promise<V> {
    try {
      const value = await load
      if (loading.get(key) === load) keep(key, value)
      return value
    } catch (error) {
      if (loading.get(key) === load) loading.delete(key)
      throw error
    }
  }

  return {
    get(key) {
      const value = values.get(key)
      if (value !== undefined) return Promise.resolve(value)
      const underway = loading.get(key)
      if (underway !== undefined) return underway
      const load = needs.load(key)
      loading.set(key, load)
      return loaded(key, load)
    },
    peek: (key) => values.get(key),
    drop: invalidate,
  }
}

function joinGroup(groups: Map<string, Set<string>>, group: string, key: string): void {
  const members = groups.get(group)
  if (members === undefined) groups.set(group, new Set([key]))
  else members.add(key)
}

function leaveGroup(groups: Map<string, Set<string>>, group: string, key: string): void {
  const members = groups.get(group)
  members?.delete(key)
  if (members?.size === 0) groups.delete(group)
}
