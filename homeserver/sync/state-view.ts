import { type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import type { RoomId } from '../../spec/ids.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { Position } from '../stream/log.ts'
import type { ChangedKeys, Recent } from './recent.ts'

/** The state of a room at a position of the log. */
export interface StateView {
  all(): Promise<ReadonlyMap<StateKey, StoredEvent>>
  get(keys: Iterable<StateKey>): Promise<Map<StateKey, StoredEvent>>
}

interface Needs {
  readonly events: Pick<Events, 'currentState' | 'currentEntry' | 'stateAt' | 'timeline'>
  readonly recent: Pick<Recent, 'changedKeys' | 'covers'>
  readonly position: () => Position
}

/**
 * The current state, as long as nothing has changed it since `upTo`; after a change, what it was after the last event
 * before it.
 */
export function stateViewAt(needs: Needs, room: RoomId, upTo: Position): StateView {
  const { events, recent } = needs

  async function unlessChanged<T>(current: Promise<T>, then: (old: StateMap) => T): Promise<T> {
    const value = await current
    const changed = recent.changedKeys(room, upTo, needs.position())
    // A slow client may read on when what it read first is no longer remembered.
    if (recent.covers(upTo) && changed !== '*' && changed.size === 0) return value
    const old = await stateUpTo(events, room, upTo)
    return old === undefined ? value : then(old)
  }

  return {
    all: () => unlessChanged(events.currentState(room), (old) => old),
    get: (keys) => unlessChanged(currentEntries(events, room, keys), (old) => pick(old, keys)),
  }
}

/** The state that a leaving user saw last. */
export function stateViewAfter(
  events: Pick<Events, 'stateAt'>,
  event: StoredEvent | undefined,
): StateView {
  const root = event?.stateAfter
  let read: Promise<StateMap> | undefined
  const all = () => {
    read ??= root === undefined ? Promise.resolve(new Map()) : events.stateAt(root)
    return read
  }
  return { all, get: async (keys) => pick(await all(), keys) }
}

/**
 * Keys that changed in a room with after < position <= upTo: as the log says, or, for what is older than it is
 * remembered, those at which the states differ.
 */
export async function changedKeysOf(
  needs: Needs,
  room: RoomId,
  after: Position,
  upTo: Position,
): Promise<ChangedKeys> {
  const { events, recent } = needs
  if (recent.covers(after)) return recent.changedKeys(room, after, upTo)
  const news = await events.timeline(room, { after, upTo, limit: 1 })
  if (news.events.length === 0) return new Set()
  const before = await stateUpTo(events, room, after)
  if (before === undefined) return '*'
  const changed = new Set<StateKey>()
  for (const [key, event] of await stateViewAt(needs, room, upTo).all()) {
    if (before.get(key)?.nr !== event.nr) changed.add(key)
  }
  return changed
}

/** The user's own or another's membership after the last event up to a position. */
export async function membershipAt(
  events: Pick<Events, 'timeline' | 'stateEntry'>,
  room: RoomId,
  user: string,
  position: Position,
): Promise<string | undefined> {
  const last = await lastEvent(events, room, position)
  if (last?.stateAfter === undefined) return undefined
  const member = await events.stateEntry(last.stateAfter, 'm.room.member', user)
  const membership = member?.pdu.content['membership']
  return typeof membership === 'string' ? membership : undefined
}

/** The newest live event of a room up to a position. */
export async function lastEvent(
  events: Pick<Events, 'timeline'>,
  room: RoomId,
  upTo: Position,
): Promise<StoredEvent | undefined> {
  const { events: last } = await events.timeline(room, { after: 0, upTo, limit: 1 })
  return last[0]
}

type StateMap = ReadonlyMap<StateKey, StoredEvent>

async function stateUpTo(
  events: Needs['events'],
  room: RoomId,
  upTo: Position,
): Promise<StateMap | undefined> {
  const root = (await lastEvent(events, room, upTo))?.stateAfter
  return root === undefined ? undefined : await events.stateAt(root)
}

async function currentEntries(
  events: Needs['events'],
  room: RoomId,
  keys: Iterable<StateKey>,
): Promise<Map<StateKey, StoredEvent>> {
  const found = new Map<StateKey, StoredEvent>()
  for (const key of keys) {
    const [type = '', stateKey = ''] = split(key)
    const event = await events.currentEntry(room, type, stateKey)
    if (event !== undefined) found.set(stateKeyOf(type, stateKey), event)
  }
  return found
}

function split(key: StateKey): [type: string, stateKey: string] {
  const end = key.indexOf('\u0000')
  return [key.slice(0, end), key.slice(end + 1)]
}

function pick(state: StateMap, keys: Iterable<StateKey>): Map<StateKey, StoredEvent> {
  const found = new Map<StateKey, StoredEvent>()
  for (const key of keys) {
    const event = state.get(key)
    if (event !== undefined) found.set(key, event)
  }
  return found
}
