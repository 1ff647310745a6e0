import { LRUCache } from 'lru-cache'
import type { UserId } from '../../spec/ids.ts'
import { parseJson } from '../../spec/json.ts'
import { type Filter, parseFilter } from '../../spec/sync/filter.ts'
import type { AccountData } from '../accounts/account-data.ts'
import { atMost } from '../platform/cache.ts'

/** Reads the filters that requests name; clients send the same one every time. */
export interface Filters {
  /** An id, or JSON that begins with a brace. Throws M_NOT_FOUND, M_NOT_JSON, M_BAD_JSON. */
  read(user: UserId, text: string | undefined): Promise<Filter>
}

/** Deepest nesting of a filter. */
const depthMax = 10
/** Stored filters remembered, and inline ones, by the length of their text. */
const storedMax = 20_000
const inlineCharactersMax = 4_000_000
const noFilter: Filter = {}

export function createFilters(accountData: Pick<AccountData, 'filter'>): Filters {
  const stored = new LRUCache<string, Filter>({ ...atMost(storedMax) })
  const inline = new LRUCache<string, Filter>({
    maxSize: inlineCharactersMax,
    sizeCalculation: (_filter, text) => text.length,
  })

  function readInline(text: string): Filter {
    const known = inline.get(text)
    if (known !== undefined) return known
    const filter = parseFilter(parseJson(text, { depthMax }))
    inline.set(text, filter)
    return filter
  }

  return {
    async read(user, text) {
      if (text === undefined || text === '') return noFilter
      if (text.startsWith('{')) return readInline(text)
      // A stored filter never changes.
      const key = `${user} ${text}`
      const known = stored.get(key)
      if (known !== undefined) return known
      const filter = parseFilter(await accountData.filter(user, text))
      stored.set(key, filter)
      return filter
    },
  }
}
