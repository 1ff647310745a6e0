/**
 * Memberships by user and by room, in memory: loaded on first use, kept true by the log's tail. Owns the table
 * `memberships`, which the log writes of member events fill.
 */
import { LRUCache } from 'lru-cache'
import {
  isUserId,
  type RoomId,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { EventPayload } from '../events/events.ts'
import type { LogRow, Tail } from '../stream/log.ts'
import { nextRow } from './membership-row.ts'
import { membershipsOfRoom, membershipsOfUser, type StoredMembership } from './queries.ts'
import type { MembershipRow, Memberships } from './rooms.ts'

/** `ref` of the log row that says that `user` has forgotten `room`. */
export const forgottenRef = 'memberships:forgotten'

/** Rows kept of each of the two caches. */
const rowsMax = 500_000

interface Needs {
  readonly db: Database
  readonly tail: Pick<Tail, 'subscribe'>
  readonly serverName: ServerName
}

/** Builds the caches; before the tail starts. */
export function createMemberships({ db, tail, serverName }: Needs): Memberships {
  const byUser = new RowCache<UserId, RoomId>(async (user) =>
    keyed(await membershipsOfUser(db, user), ({ room }) => room),
  )
  const byRoom = new RowCache<RoomId, UserId>(async (room) =>
    keyed(await membershipsOfRoom(db, room), ({ user }) => user),
  )

  tail.subscribe('memberships', (rows) => {
    for (const row of rows) apply(row)
  })

  function apply(row: LogRow): void {
    switch (row.kind) {
      case 'event':
        if (isEventPayload(row.payload)) applyEvent(row.payload, row.position)
        break
      case 'state':
        applyState(row)
        break
      case 'outOfBandMembership':
        forget(row)
        break
      case 'invalidate':
        if (row.ref === forgottenRef) forget(row)
        break
    }
  }

  function applyEvent({ event, changesState }: EventPayload, position: number): void {
    const { type, stateKey, roomId } = event.pdu
    if (!changesState || type !== 'm.room.member' || !isUserId(stateKey)) return
    const next = (before: MembershipRow | undefined) => nextRow(event, stateKey, position, before)
    byUser.change(stateKey, roomId, next)
    byRoom.change(roomId, stateKey, next)
  }

  /** Members that changed without an event of their own are read again. */
  function applyState({ room, ref }: LogRow): void {
    if (room === undefined) return
    const users = membersIn(ref)
    byRoom.drop(room)
    if (users === undefined) byUser.clear()
    else for (const user of users) byUser.drop(user)
  }

  function forget({ room, user }: LogRow): void {
    if (user !== undefined) byUser.drop(user)
    if (room !== undefined) byRoom.drop(room)
  }

  return {
    ofUser: (user) => byUser.get(user),
    ofRoom: (room) => byRoom.get(room),
    async isJoined(user, room) {
      const rows = byUser.peek(user) ?? (await byUser.get(user))
      return rows.get(room)?.membership === 'join'
    },
    async sharingWith(user) {
      const sharing = new Set<UserId>()
      for (const row of (await byUser.get(user)).values()) {
        if (row.membership !== 'join') continue
        for (const other of (await byRoom.get(row.room)).values()) {
          if (other.membership === 'join') sharing.add(other.user)
        }
      }
      sharing.delete(user)
      return sharing
    },
    async localJoined(room) {
      const users: UserId[] = []
      for (const { user, membership } of (await byRoom.get(room)).values()) {
        if (membership === 'join' && serverOfUser(user) === serverName) users.push(user)
      }
      return users
    },
  }
}

/** Maps of rows by an outer and an inner key; a load that a change overtook is answered and not kept. */
class RowCache<K extends string, I extends string> {
  readonly #load: (key: K) => Promise<Map<I, MembershipRow>>
  readonly #kept = new LRUCache<K, Map<I, MembershipRow>>({
    maxSize: rowsMax,
    sizeCalculation: (rows) => rows.size + 4,
  })
  readonly #loading = new Map<K, Promise<Map<I, MembershipRow>>>()

  constructor(load: (key: K) => Promise<Map<I, MembershipRow>>) {
    this.#load = load
  }

  peek(key: K): ReadonlyMap<I, MembershipRow> | undefined {
    return this.#kept.get(key)
  }

  get(key: K): Promise<ReadonlyMap<I, MembershipRow>> {
    const kept = this.#kept.get(key)
    if (kept !== undefined) return Promise.resolve(kept)
    return this.#loading.get(key) ?? this.#read(key)
  }

  /** Puts a row that the log brought. */
  change(key: K, inner: I, next: (before: MembershipRow | undefined) => MembershipRow): void {
    this.#loading.delete(key)
    const rows = this.#kept.peek(key)
    if (rows === undefined) return
    const before = rows.size
    rows.set(inner, next(rows.get(inner)))
    // The cache has to know how much more it weighs.
    if (rows.size !== before) this.#kept.set(key, rows)
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

function keyed<I extends string>(
  rows: readonly StoredMembership[],
  keyOf: (row: MembershipRow) => I,
): Map<I, MembershipRow> {
  const map = new Map<I, MembershipRow>()
  for (const stored of rows) {
    const row = rowOf(stored)
    map.set(keyOf(row), row)
  }
  return map
}

function rowOf(row: StoredMembership): MembershipRow {
  return {
    room: row.room_id,
    user: row.user_id,
    membership: row.membership,
    eventId: row.event_id,
    sender: row.sender,
    since: row.since,
    position: row.position,
    ...(row.display_name !== null && { displayName: row.display_name }),
    ...(row.avatar_url !== null && { avatarUrl: row.avatar_url }),
    forgotten: row.forgotten,
  }
}

const memberPrefix = 'm.room.member\u0000'

/** Users whose membership a row of kind 'state' changed; undefined when all may have changed. */
function membersIn(ref: string): UserId[] | undefined {
  if (ref === '*') return undefined
  const changes: unknown = JSON.parse(ref)
  const users: UserId[] = []
  for (const change of Array.isArray(changes) ? changes : []) {
    const key: unknown = Array.isArray(change) ? change[0] : undefined
    if (typeof key !== 'string' || !key.startsWith(memberPrefix)) continue
    const user = key.slice(memberPrefix.length)
    if (isUserId(user)) users.push(user)
  }
  return users
}

/** Is a payload that of a row of kind 'event'. */
export function isEventPayload(payload: unknown): payload is EventPayload {
  return (
    typeof payload === 'object' &&
    payload !== null &&
    'event' in payload &&
    'changesState' in payload
  )
}
