/**
 * The newest rows of the log that syncs ask about, in memory, by room and by user. What is older is read from the
 * log when somebody comes back with an older token, and from the tables when it is older than that.
 */
import type { StateKey } from '../../spec/events/event.ts'
import { stateKeyOf } from '../../spec/events/event.ts'
import { isUserId, type RoomId, type UserId } from '../../spec/ids.ts'
import { isEventPayload } from '../events/room-views.ts'
import type { LogRow, Position, Tail } from '../stream/log.ts'
import { createWindow, type RecentRow } from './recent-window.ts'

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

/** Positions that are read for an older token; a token older than that is answered from the tables. */
const extendMax = 50_000
const pageRows = 2_000

const remembered: ReadonlySet<string> = new Set(['event', 'state', 'receipt', 'accountData'])

export function createRecent({
  tail,
}: {
  readonly tail: Pick<Tail, 'subscribe' | 'position' | 'read' | 'oldest'>
}): Recent {
  const window = createWindow()
  /** Everything above is in memory; unset until the tail has brought a row. */
  let floor: Position | undefined
  let extending: Promise<boolean> = Promise.resolve(true)

  tail.subscribe('recent rows', (rows) => {
    floor ??= (rows[0]?.position ?? 1) - 1
    floor = window.append(slimmed(rows)) ?? floor
  })

  async function readBack(since: Position): Promise<boolean> {
    const end = floor ?? tail.position
    if (since >= end) return true
    if (tail.position - since > extendMax || since + 1 < (await tail.oldest())) return false
    const { drops } = window
    const older: RecentRow[] = []
    for (let at = since; at < end; ) {
      const page = await tail.read(at, pageRows)
      older.push(...slimmed(page.filter(({ position }) => position <= end)))
      at = page.length < pageRows ? end : (page.at(-1)?.position ?? end)
    }
    if (window.drops !== drops || !window.prepend(older)) return false
    floor = since
    return true
  }

  const covers = (since: Position) => since >= (floor ?? tail.position)
  return {
    covers,
    extend(since) {
      if (covers(since)) return Promise.resolve(true)
      const read = () => readBack(since)
      extending = extending.then(read, read)
      return extending
    },
    ofRoom: window.ofRoom,
    hasAccountData: (user, after, upTo) => window.accountDataOf(user, after, upTo).length > 0,
    changedKeys(room, after, upTo) {
      const changed = new Set<StateKey>()
      for (const { keys } of window.ofRoom(room, after, upTo)) {
        if (keys === '*') return '*'
        for (const key of keys ?? []) changed.add(key)
      }
      return changed
    },
  }
}

/** Rows of the kinds that are remembered, without their payloads. */
function slimmed(rows: readonly LogRow[]): RecentRow[] {
  return rows.flatMap((row) => {
    if (!remembered.has(row.kind)) return []
    const { position, kind, room } = row
    // Of account data and receipts is told whose they are; all else is in the keys.
    if (kind === 'accountData' || kind === 'receipt') return [{ ...row, payload: undefined }]
    const keys = keysOf(row)
    const slim = {
      position,
      kind,
      ref: '',
      payload: undefined,
      ...(room !== undefined && { room }),
    }
    return [keys === undefined ? slim : { ...slim, keys }]
  })
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
