import type { StateKey } from '../../spec/events/event.ts'
import type { RoomId, UserId } from '../../spec/ids.ts'
import type { LogRow, Position } from '../stream/log.ts'

/** A row without what its writer attached: only what a sync has to know beforehand. */
export interface RecentRow extends LogRow<undefined> {
  /** Keys of the current state that this row changed; `*` when it may be any. */
  readonly keys?: readonly StateKey[] | '*'
}

/** Rows kept. */
const rowsMax = 100_000
/** Rows dropped at a time, beyond those kept. */
const dropAtOnce = 10_000

/** Rows in order of position, by room and, account data, by user. */
export interface RecentWindow {
  /** How often old rows were dropped. */
  readonly drops: number
  /** Adds newer rows; answers up to where rows were dropped for them, if any were. */
  append(fresh: readonly RecentRow[]): Position | undefined
  /** Adds older rows; false when there is no room for them. */
  prepend(older: readonly RecentRow[]): boolean
  ofRoom(room: RoomId, after: Position, upTo: Position): readonly RecentRow[]
  accountDataOf(user: UserId, after: Position, upTo: Position): readonly RecentRow[]
}

export function createWindow(): RecentWindow {
  let rows: RecentRow[] = []
  let drops = 0
  const rooms = new Map<RoomId, RecentRow[]>()
  const accountData = new Map<UserId, RecentRow[]>()

  function listOf({ kind, room, user }: RecentRow): RecentRow[] | undefined {
    if (kind === 'accountData') return user && listAt(accountData, user)
    return room && listAt(rooms, room)
  }

  function drop(): Position {
    const dropped = rows.slice(0, rows.length - rowsMax)
    const upTo = dropped.at(-1)?.position ?? 0
    rows = rows.slice(dropped.length)
    drops += 1
    for (const { room, user, kind } of dropped) {
      if (kind === 'accountData') shorten(accountData, user, upTo)
      else shorten(rooms, room, upTo)
    }
    return upTo
  }

  return {
    get drops() {
      return drops
    },
    append(fresh) {
      for (const row of fresh) {
        rows.push(row)
        listOf(row)?.push(row)
      }
      return rows.length > rowsMax + dropAtOnce ? drop() : undefined
    },
    prepend(older) {
      if (older.length + rows.length > rowsMax) return false
      rows = [...older, ...rows]
      const lists = new Map<RecentRow[], RecentRow[]>()
      for (const row of older) {
        const list = listOf(row)
        if (list !== undefined) listAt(lists, list).push(row)
      }
      for (const [list, front] of lists) {
        const whole = [...front, ...list]
        list.length = 0
        for (const row of whole) list.push(row)
      }
      return true
    },
    ofRoom: (room, after, upTo) => between(rooms.get(room), after, upTo),
    accountDataOf: (user, after, upTo) => between(accountData.get(user), after, upTo),
  }
}

function listAt<K>(lists: Map<K, RecentRow[]>, key: K): RecentRow[] {
  const known = lists.get(key)
  if (known !== undefined) return known
  const list: RecentRow[] = []
  lists.set(key, list)
  return list
}

/** Drops what is not above `upTo` from the front of a list. */
function shorten<K>(lists: Map<K, RecentRow[]>, key: K | undefined, upTo: Position): void {
  const list = key === undefined ? undefined : lists.get(key)
  if (key === undefined || list === undefined || (list[0]?.position ?? upTo) > upTo) return
  const rest = list.slice(firstAfter(list, upTo))
  if (rest.length === 0) lists.delete(key)
  else lists.set(key, rest)
}

const nothing: readonly RecentRow[] = []

function between(
  list: readonly RecentRow[] | undefined,
  after: Position,
  upTo: Position,
): readonly RecentRow[] {
  // Most lists end before the token in hand.
  if (list === undefined || (list.at(-1)?.position ?? 0) <= after) return nothing
  return list.slice(firstAfter(list, after), firstAfter(list, upTo))
}

/** Index of the first row above `position`. */
function firstAfter(list: readonly RecentRow[], position: Position): number {
  let low = 0
  let high = list.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((list[middle]?.position ?? 0) <= position) low = middle + 1
    else high = middle
  }
  return low
}
