/**
 * The newest rows of the log that syncs ask about, in memory, by room and by user. What is older is read from the
 * log when somebody comes back with an older token, and from the tables when it is older than that.
 */
import type { StateKey } from '../../spec/events/event.ts'
import { stateKeyOf } from '../../spec/events/event.ts'
import { isUserId, type RoomId, type UserId } from '../../spec/ids.ts'
import { isEventPayload } from '../events/room-views.ts'
import type { LogRow, Position, Tail } from '../stream/log.ts'

/** A row without what its writer attached: only what a sync has to know beforehand. */
export interface RecentRow extends LogRow<undefined> {
  /** Keys of the current state that this row changed; `*` when it may be any. */
  readonly keys?: readonly StateKey[] | '*'
}

/** What changed in a room's current state. */
export type ChangedKeys = ReadonlySet<StateKey> | '*'

export interface Recent {
  /** Is everything after `since` in memory. */
  covers(since: Position): boolean
  /** Reads what is missing after `since`; false when it is too much or gone. */
  extend(since: Position): Promise<boolean>
  /** Rows of a room with after < position <= upTo. */
  ofRoom(room: RoomId, after: Position, upTo: Position): readonly RecentRow[]
  /** Is there such a row of a user's account data. */
  hasAccountData(user: UserId, after: Position, upTo: Position): boolean
  changedKeys(room: RoomId, after: Position, upTo: Position): ChangedKeys
}

/** Rows kept. */
const rowsMax = 100_000
/** Rows dropped at a time, beyond those kept. */
const dropAtOnce = 10_000
/** Positions that are read for an older token; a token older than that is answered from the tables. */
const extendMax = 50_000
const pageRows = 2_000

const remembered: ReadonlySet<string> = new Set(['event', 'state', 'receipt', 'accountData'])

export function createRecent({
  tail,
}: {
  readonly tail: Pick<Tail, 'subscribe' | 'position' | 'read' | 'oldest'>
}): Recent {
  let rows: RecentRow[] = []
  const rooms = new Map<RoomId, RecentRow[]>()
  const accountData = new Map<UserId, RecentRow[]>()
  /** Everything above is in memory; unset until the tail has brought a row. */
  let floor: Position | undefined
  let extending: Promise<boolean> = Promise.resolve(true)

  function listOf(row: RecentRow): RecentRow[] | undefined {
    if (row.kind === 'accountData') return row.user && listAt(accountData, row.user)
    return row.room && listAt(rooms, row.room)
  }

  function drop(): void {
    const dropped = rows.slice(0, rows.length - rowsMax)
    rows = rows.slice(dropped.length)
    floor = dropped.at(-1)?.position ?? floor
    const upTo = floor ?? 0
    for (const { room, user, kind } of dropped) {
      if (kind === 'accountData') shorten(accountData, user, upTo)
      else shorten(rooms, room, upTo)
    }
  }

  tail.subscribe('recent rows', (fresh) => {
    floor ??= (fresh[0]?.position ?? 1) - 1
    for (const row of fresh) {
      if (!remembered.has(row.kind)) continue
      const slim = slimmed(row)
      rows.push(slim)
      listOf(slim)?.push(slim)
    }
    if (rows.length > rowsMax + dropAtOnce) drop()
  })

  async function readBack(since: Position): Promise<boolean> {
    const end = floor ?? tail.position
    if (since >= end) return true
    if (tail.position - since > extendMax || since + 1 < (await tail.oldest())) return false
    const older: RecentRow[] = []
    for (let at = since; at < end; ) {
      const page = await tail.read(at, pageRows)
      for (const row of page) {
        if (row.position <= end && remembered.has(row.kind)) older.push(slimmed(row))
      }
      at = page.length < pageRows ? end : (page.at(-1)?.position ?? end)
    }
    // Rows may have been dropped meanwhile: then there is no room for older ones.
    if ((floor ?? end) !== end || older.length + rows.length > rowsMax) return false
    rows = [...older, ...rows]
    for (const row of older.toReversed()) listOf(row)?.unshift(row)
    floor = since
    return true
  }

  const covers = (since: Position) => since >= (floor ?? tail.position)

  function ofRoom(room: RoomId, after: Position, upTo: Position): readonly RecentRow[] {
    return between(rooms.get(room), after, upTo)
  }

  return {
    covers,
    extend(since) {
      if (covers(since)) return Promise.resolve(true)
      const read = () => readBack(since)
      extending = extending.then(read, read)
      return extending
    },
    ofRoom,
    hasAccountData: (user, after, upTo) => between(accountData.get(user), after, upTo).length > 0,
    changedKeys(room, after, upTo) {
      const changed = new Set<StateKey>()
      for (const { keys } of ofRoom(room, after, upTo)) {
        if (keys === '*') return '*'
        for (const key of keys ?? []) changed.add(key)
      }
      return changed
    },
  }
}

function slimmed(row: LogRow): RecentRow {
  const keys = keysOf(row)
  return { ...row, payload: undefined, ...(keys !== undefined && { keys }) }
}

function keysOf({ kind, ref, payload }: LogRow): readonly StateKey[] | '*' | undefined {
  if (kind === 'state') return stateKeysIn(ref)
  if (kind !== 'event' || !isEventPayload(payload) || !payload.changesState) return undefined
  const { type, stateKey } = payload.event.pdu
  return stateKey === undefined ? undefined : [stateKeyOf(type, stateKey)]
}

/** The ref of a row of kind `state`: `*`, or JSON [[key, number or null], …]. */
function stateKeysIn(ref: string): readonly StateKey[] | '*' {
  if (ref === '*') return '*'
  const changes: unknown = JSON.parse(ref)
  if (!Array.isArray(changes)) return '*'
  return changes.flatMap((change: unknown) => {
    const key: unknown = Array.isArray(change) ? change[0] : change
    return isStateKey(key) ? [key] : []
  })
}

/** Users whose member events are among the changed keys of a row of kind `state`. */
export function membersIn(ref: string): UserId[] {
  const keys = stateKeysIn(ref)
  if (keys === '*') return []
  return keys.flatMap((key) => {
    const [type, user] = key.split('\u0000')
    return type === 'm.room.member' && isUserId(user) ? [user] : []
  })
}

function isStateKey(key: unknown): key is StateKey {
  return typeof key === 'string' && key.includes('\u0000')
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
