import type { UserId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import { storedObject } from '../database/stored-text.ts'
import type { Tail } from '../stream/log.ts'
import { ignoredIn } from './account-data.ts'
import * as queries from './queries.ts'

/** Who ignores whom, seen from those who are ignored. */
export interface Ignorers {
  /** Who ignores the user, as it was when `refresh` was done last. */
  of(user: UserId): ReadonlySet<UserId>
  /** False: lists have changed since. */
  readonly isFresh: boolean
  /** Reads what has changed; the first time, every list. Few people ignore anybody. */
  refresh(): Promise<void>
}

const nobody: ReadonlySet<UserId> = new Set()
const type = 'm.ignored_user_list'

/** Reads all lists once; afterwards the tail tells of each that changes, and it alone is read. */
export function createIgnorers(needs: {
  readonly db: Database
  readonly tail: Pick<Tail, 'subscribe'>
}): Ignorers {
  const ignorers = new Map<UserId, Set<UserId>>()
  const lists = new Map<UserId, ReadonlySet<UserId>>()
  const stale = new Set<UserId>()
  let isRead = false
  let reading: Promise<void> | undefined
  needs.tail.subscribe('ignorers', (rows) => {
    for (const { kind, ref, user, room } of rows) {
      if (kind !== 'accountData' || ref !== type || user === undefined || room) continue
      stale.add(user)
    }
  })

  function put(user: UserId, list: ReadonlySet<UserId>): void {
    for (const ignored of lists.get(user) ?? []) {
      const others = ignorers.get(ignored)
      others?.delete(user)
      if (others?.size === 0) ignorers.delete(ignored)
    }
    lists.set(user, list)
    if (list.size === 0) lists.delete(user)
    for (const ignored of list) {
      ignorers.set(ignored, (ignorers.get(ignored) ?? new Set()).add(user))
    }
  }

  async function read(): Promise<void> {
    const users = isRead ? [...stale] : undefined
    stale.clear()
    try {
      const found = await queries.ignoredLists(needs.db, users)
      for (const user of users ?? []) put(user, new Set())
      for (const row of found) put(row.user_id, ignoredIn(storedObject(row.content)))
      isRead = true
    } catch (error) {
      for (const user of users ?? []) stale.add(user)
      throw error
    }
  }

  return {
    of: (user) => ignorers.get(user) ?? nobody,
    get isFresh() {
      return isRead && stale.size === 0
    },
    async refresh() {
      while (!isRead || stale.size > 0) {
        reading ??= read().finally(() => {
          reading = undefined
        })
        await reading
      }
    },
  }
}

/** Nobody ignores anybody. */
export const nobodyIgnores: Ignorers = {
  of: () => nobody,
  isFresh: true,
  refresh: async () => {},
}
