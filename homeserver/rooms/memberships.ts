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
import type { PartialRooms } from '../events/partial-rooms.ts'
import { isDeletion } from '../events/purged.ts'
import type { LogRow, Tail } from '../stream/log.ts'
import { nextRow } from './membership-row.ts'
import { membershipsOfRoom, membershipsOfUser, type StoredMembership } from './queries.ts'
import type { MembershipRow, Memberships } from './rooms.ts'
import { RowCache, type Rows } from './row-cache.ts'

/** `ref` of the log row that says that `user` has forgotten `room`. */
export const forgottenRef = 'memberships:forgotten'

/** Users in all sets of who shares a room with whom that are kept. */
const sharedMax = 2_000_000

interface Needs {
  readonly db: Database
  readonly tail: Pick<Tail, 'subscribe'>
  readonly serverName: ServerName
  /** Rooms whose members are not all known; there are none when absent. */
  readonly partial?: Pick<PartialRooms, 'isPartial' | 'serversOf'>
}

/** Builds the caches; before the tail starts. */
export function createMemberships({ db, tail, serverName, partial }: Needs): Memberships {
  const byUser = new RowCache<UserId, RoomId>(async (user) =>
    keyed(await membershipsOfUser(db, user), ({ room }) => room),
  )
  const byRoom = new RowCache<RoomId, UserId>(async (room) =>
    keyed(await membershipsOfRoom(db, room), ({ user }) => user),
  )

  const sharing = createSharing(byUser, byRoom)
  /** Who is joined by rows that were asked about; changed along with them. */
  const tallies = new WeakMap<Rows<UserId>, Tally>()

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
        if (isDeletion(row)) {
          forget(row)
          byUser.clear()
        }
        break
    }
  }

  function applyEvent({ event, changesState }: EventPayload, position: number): void {
    const { type, stateKey, roomId } = event.pdu
    if (!changesState || type !== 'm.room.member' || !isUserId(stateKey)) return
    const next = (before: MembershipRow | undefined) => nextRow(event, stateKey, position, before)
    byUser.change(stateKey, roomId, next)
    const rows = byRoom.change(roomId, stateKey, next)
    const tally = rows && tallies.get(rows)
    if (tally === undefined) return
    const isJoined = rows?.get(stateKey)?.membership === 'join'
    tally.joined += isJoined ? 1 : -1
    if (serverOfUser(stateKey) !== serverName) return
    tally.locals = isJoined
      ? [...tally.locals, stateKey]
      : tally.locals.filter((user) => user !== stateKey)
  }

  async function tallyOf(room: RoomId): Promise<Tally> {
    const rows = await byRoom.get(room)
    const known = tallies.get(rows)
    if (known !== undefined) return known
    const locals: UserId[] = []
    let joined = 0
    for (const { user, membership } of rows.values()) {
      if (membership !== 'join') continue
      joined++
      if (serverOfUser(user) === serverName) locals.push(user)
    }
    const tally = { joined, locals }
    tallies.set(rows, tally)
    return tally
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
      const row = rows.get(room)
      if (row !== undefined || serverOfUser(user) === serverName) return row?.membership === 'join'
      // Where members are missing, users of the servers that are there are taken for members.
      return (await partial?.serversOf(room))?.has(serverOfUser(user)) === true
    },
    sharingWith: (user) => sharing.with(user),
    localJoined: async (room) => (await tallyOf(room)).locals,
    joinedCount: async (room) => (await tallyOf(room)).joined,
  }
}

/** Who is joined to a room. */
interface Tally {
  joined: number
  locals: readonly UserId[]
}

interface Shared {
  readonly users: ReadonlySet<UserId>
  /** What the set was made of: it holds while every stamp does. */
  readonly mine: Rows<RoomId>
  readonly mineStamp: number | undefined
  readonly rooms: readonly (readonly [
    room: RoomId,
    rows: Rows<UserId>,
    stamp: number | undefined,
  ])[]
}

/** Who shares a joined room with whom, remembered until somebody joins or leaves one of the rooms. */
function createSharing(byUser: RowCache<UserId, RoomId>, byRoom: RowCache<RoomId, UserId>) {
  const known = new LRUCache<UserId, Shared>({
    maxSize: sharedMax,
    sizeCalculation: ({ users, rooms }) => users.size + rooms.length + 4,
  })

  function holds(user: UserId, { mine, mineStamp, rooms }: Shared): boolean {
    if (mineStamp === undefined || byUser.stampOf(user, mine) !== mineStamp) return false
    return rooms.every(
      ([room, rows, stamp]) => stamp !== undefined && byRoom.stampOf(room, rows) === stamp,
    )
  }

  async function find(user: UserId): Promise<ReadonlySet<UserId>> {
    const users = new Set<UserId>()
    const mine = await byUser.get(user)
    const mineStamp = byUser.stampOf(user, mine)
    const joined = [...mine.values()].filter(({ membership }) => membership === 'join')
    const rooms: [RoomId, Rows<UserId>, number | undefined][] = []
    for (const { room } of joined) {
      const rows = await byRoom.get(room)
      rooms.push([room, rows, byRoom.stampOf(room, rows)])
      for (const other of rows.values()) if (other.membership === 'join') users.add(other.user)
    }
    users.delete(user)
    known.set(user, { users, mine, mineStamp, rooms })
    return users
  }

  return {
    async with(user: UserId): Promise<ReadonlySet<UserId>> {
      const shared = known.get(user)
      return shared !== undefined && holds(user, shared) ? shared.users : await find(user)
    },
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
