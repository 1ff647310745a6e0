import { isUserId, type RoomId, serverOfUser, type UserId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { PartialRooms } from '../events/partial-rooms.ts'
import type { MembershipRow, Memberships } from '../rooms/rooms.ts'
import type { LogRow, Tail } from '../stream/log.ts'
import * as queries from './queries.ts'

export interface ListChanges {
  readonly changed: ReadonlySet<UserId>
  readonly left: ReadonlySet<UserId>
}

/** A recent log row that may change somebody's device lists. */
interface Move {
  readonly position: number
  readonly user: UserId
  /** Set when the user signed this one's keys: of interest to the user alone. */
  readonly signed?: UserId
  /** Set when the user's membership of the room may have changed; otherwise the user's keys did. */
  readonly room?: RoomId
}

/** Begins the ref of a row that says whose key the row's user signed. */
export const signaturePrefix = 'signed:'
const movesMax = 20_000
const nothing: ListChanges = { changed: new Set(), left: new Set() }

/**
 * Answers from the recent rows in memory, and from Postgres and the memberships for what is older. A sync that was
 * away while nothing of this kind happened costs one binary search.
 */
export function createListChanges(needs: {
  db: Database
  tail: Pick<Tail, 'subscribe' | 'position'>
  memberships: Memberships
  /** Rooms whose members are not all known; there are none when absent. */
  partial?: Pick<PartialRooms, 'all' | 'serversOf'>
}) {
  const { db, memberships } = needs
  let moves: Move[] = []
  /** Every row above this position that matters is in `moves`; unset until the tail has brought a row. */
  let floor: number | undefined

  needs.tail.subscribe('device lists', (rows) => {
    floor ??= (rows[0]?.position ?? 1) - 1
    for (const row of rows) {
      // A room was taken over whole: what is older is answered from the tables.
      if (row.kind === 'state' && row.ref === '*') {
        moves = []
        floor = row.position
      } else moves.push(...movesOf(row))
    }
    if (moves.length > movesMax * 2) {
      moves = moves.slice(-movesMax)
      floor = moves[0]?.position ?? floor
    }
  })

  async function changedFor(user: UserId, since: number, upTo: number): Promise<ListChanges> {
    if (since >= upTo) return nothing
    if (since < (floor ?? needs.tail.position)) return await fromTables(user, since)
    const window = moves.slice(firstAfter(moves, since), firstAfter(moves, upTo))
    if (window.length === 0) return nothing
    return await fromMoves(user, since, window)
  }

  async function fromMoves(
    user: UserId,
    since: number,
    window: readonly Move[],
  ): Promise<ListChanges> {
    const mine = await memberships.ofUser(user)
    const concerned = window.filter(
      (m) => m.room === undefined || mine.has(m.room) || m.user === user,
    )
    if (concerned.length === 0) return nothing
    const sharing = await memberships.sharingWith(user)
    const changed = new Set<UserId>()
    const left = new Set<UserId>()
    const rooms = new Map<RoomId, Set<UserId>>()
    for (const move of concerned) {
      if (move.signed !== undefined) {
        if (move.user === user) changed.add(move.signed)
      } else if (move.room === undefined) {
        if (move.user === user || sharing.has(move.user)) changed.add(move.user)
        else if (await mayShare(user, move.user)) changed.add(move.user)
      } else {
        const users = rooms.get(move.room)
        if (users === undefined) rooms.set(move.room, new Set([move.user]))
        else users.add(move.user)
      }
    }
    for (const [room, users] of rooms) {
      const row = mine.get(room)
      if (row === undefined || (row.membership !== 'join' && row.since <= since)) continue
      const members = await memberships.ofRoom(room)
      const whole = row.since > since
      const ids = whole ? members.keys() : users
      for (const id of ids)
        sort(id, members.get(id), { user, since, whole, sharing, changed, left })
    }
    return { changed, left }
  }

  /** Is the other's server in a room of the user's whose members are not all known. */
  async function mayShare(user: UserId, other: UserId): Promise<boolean> {
    for (const room of (await needs.partial?.all()) ?? []) {
      if (!(await memberships.isJoined(user, room))) continue
      if ((await needs.partial?.serversOf(room))?.has(serverOfUser(other))) return true
    }
    return false
  }

  async function fromTables(user: UserId, since: number): Promise<ListChanges> {
    const mine = await memberships.ofUser(user)
    const sharing = await memberships.sharingWith(user)
    const changed = new Set<UserId>()
    const left = new Set<UserId>()
    for (const row of await queries.changedAmong(db, [...sharing, user], since))
      changed.add(row.user_id)
    for (const row of await queries.signedSince(db, user, since)) changed.add(row.target_user_id)
    for (const [room, row] of mine) {
      const whole = row.since > since
      if (row.membership !== 'join' && !whole) continue
      for (const [id, member] of await memberships.ofRoom(room)) {
        sort(id, member, { user, since, whole, sharing, changed, left })
      }
    }
    return { changed, left }
  }

  return { changedFor }
}

/**
 * Puts a member of a room that `user` is or was in where it belongs: into `changed` when the two began to share the
 * room after `since`, into `left` when they share no room any more.
 */
function sort(
  id: UserId,
  member: MembershipRow | undefined,
  to: {
    user: UserId
    since: number
    /** The user's own membership of the room began after `since`. */
    whole: boolean
    sharing: ReadonlySet<UserId>
    changed: Set<UserId>
    left: Set<UserId>
  },
): void {
  if (id === to.user || member === undefined) return
  const moved = to.whole || member.since > to.since
  if (!moved) return
  if (!to.sharing.has(id)) {
    if (member.membership === 'join' || member.since > to.since) to.left.add(id)
  } else if (member.membership === 'join') {
    to.changed.add(id)
  }
}

function* movesOf(row: LogRow): Iterable<Move> {
  const { position } = row
  if (row.kind === 'deviceList' && row.user !== undefined) {
    const signed = row.ref.startsWith(signaturePrefix)
      ? row.ref.slice(signaturePrefix.length)
      : undefined
    yield isUserId(signed) ? { position, user: row.user, signed } : { position, user: row.user }
  } else if (row.kind === 'event' && row.user !== undefined && row.room !== undefined) {
    yield { position, user: row.user, room: row.room }
  } else if (row.kind === 'state' && row.room !== undefined) {
    for (const user of membersIn(row.ref)) yield { position, user, room: row.room }
  }
}

/** Users whose member events are among the changed keys of a `state` row. */
function membersIn(ref: string): UserId[] {
  const keys: unknown = JSON.parse(ref)
  if (!Array.isArray(keys)) return []
  return keys.flatMap((key: unknown) => {
    const [type, user] = Array.isArray(key) ? key : typeof key === 'string' ? key.split('\0') : []
    return type === 'm.room.member' && isUserId(user) ? [user] : []
  })
}

/** Index of the first move above `position`. */
function firstAfter(moves: readonly Move[], position: number): number {
  let low = 0
  let high = moves.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((moves[middle]?.position ?? 0) <= position) low = middle + 1
    else high = middle
  }
  return low
}
