/** The part of an answer that has the rooms: which there are, and an entry for each that has news. */
import type { RoomId, UserId } from '../../spec/ids.ts'
import type { Notifications } from '../notifications/notifications.ts'
import type { Unread } from '../notifications/unread.ts'
import type { Logger } from '../platform/log.ts'
import type { MembershipRow, Memberships } from '../rooms/rooms.ts'
import { type EventWriter, memberOf, objectOf } from './event-text.ts'
import type { ChangedKeys } from './recent.ts'
import type { Scope } from './request.ts'
import { type JoinedEntry, joinedEntry, leftEntry, type RoomEntryNeeds } from './room-entry.ts'
import { type EphemeralNeeds, readEphemeral } from './room-ephemeral.ts'
import { sortRooms } from './sort-rooms.ts'
import { readStripped, type StrippedNeeds } from './stripped-state.ts'

export interface RoomsPartNeeds
  extends RoomEntryNeeds,
    EphemeralNeeds,
    Omit<StrippedNeeds, 'events'> {
  readonly memberships: Pick<Memberships, 'ofRoom'>
  readonly notifications: Pick<Notifications, 'unreadCounts'>
  readonly log: Logger
}

export interface RoomsPart {
  /** `"rooms":{…}`, or nothing. */
  readonly text: string | undefined
  /** Users whom the requester began to share a room with. */
  readonly newcomers: ReadonlySet<UserId>
}

/** Rooms read at a time. */
const roomsAtOnce = 8
/** Members of a newly joined room whose presence is told. */
const newcomersMax = 1_000

type AccountDataByRoom = ReadonlyMap<RoomId | undefined, readonly string[]>
const none: readonly string[] = []

export async function readRooms(
  needs: RoomsPartNeeds,
  rows: readonly MembershipRow[],
  accountData: AccountDataByRoom,
  scope: Scope,
  write: EventWriter,
): Promise<RoomsPart> {
  const sorted = sortRooms(rows, scope)
  const ephemeral = await readEphemeral(needs, sorted.joined, scope)
  const dataOf = (room: RoomId) => accountData.get(room) ?? none
  const candidates = sorted.joined.filter(
    (row) => ephemeral.has(row.room) || accountData.has(row.room) || mayHaveNews(needs, row, scope),
  )
  const unread = await readUnread(needs, candidates, scope)
  const newcomers = new Set<UserId>()
  const joined = await entries(needs, candidates, async (row) => {
    const { room } = row
    const extras = {
      ephemeral: ephemeral.get(room) ?? none,
      accountData: dataOf(room),
      unread: unread.get(room),
    }
    const entry = await joinedEntry(needs, row, extras, scope, write)
    if (entry !== undefined) await addNewcomers(needs, row, entry, newcomers)
    return entry?.text
  })
  const left = await entries(needs, sorted.left, (row) =>
    leftEntry(needs, row, dataOf(row.room), scope, write),
  )
  const stripped = (name: string) => async (row: MembershipRow) =>
    `{"${name}":${await readStripped(needs, row)}}`
  const invited = await entries(needs, sorted.invited, stripped('invite_state'))
  const knocked = await entries(needs, sorted.knocked, stripped('knock_state'))
  const size = joined.size + left.size + invited.size + knocked.size
  if (size === 0) return { text: undefined, newcomers }
  const text = objectOf([
    memberOf('join', joined),
    memberOf('invite', invited),
    memberOf('knock', knocked),
    memberOf('leave', left),
  ])
  return { text: `"rooms":${text}`, newcomers }
}

/** Certain only when it says no. */
function mayHaveNews(
  { recent }: Pick<RoomsPartNeeds, 'recent'>,
  { room, since: joinedAt }: MembershipRow,
  { since, upTo, fullState }: Scope,
): boolean {
  if (since === undefined || fullState || joinedAt > since.position) return true
  return !recent.covers(since.position) || recent.ofRoom(room, since.position, upTo).length > 0
}

/** Counts of what is unread; an answer without them is better than none. */
async function readUnread(
  { notifications, log }: Pick<RoomsPartNeeds, 'notifications' | 'log'>,
  rows: readonly MembershipRow[],
  { user }: Scope,
): Promise<ReadonlyMap<RoomId, Unread>> {
  if (rows.length === 0) return new Map()
  try {
    return await notifications.unreadCounts(
      user,
      rows.map(({ room }) => room),
    )
  } catch (error) {
    log.warn({ user, error }, 'unread counts left out of a sync')
    return new Map()
  }
}

/** Entries by room, in order; a room that cannot be read is left out. */
async function entries(
  { log }: Pick<RoomsPartNeeds, 'log'>,
  rows: readonly MembershipRow[],
  read: (row: MembershipRow) => Promise<string | undefined>,
): Promise<Map<RoomId, string>> {
  const texts = new Map<RoomId, string>()
  const rest = [...rows].reverse()
  const runner = async () => {
    for (let row = rest.pop(); row !== undefined; row = rest.pop()) {
      try {
        const text = await read(row)
        if (text !== undefined) texts.set(row.room, text)
      } catch (error) {
        log.error({ room: row.room, user: row.user, error }, 'room left out of a sync')
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(roomsAtOnce, rows.length) }, runner))
  return texts
}

/** Those who joined, or everybody in a room that the requester joined. */
async function addNewcomers(
  { memberships }: Pick<RoomsPartNeeds, 'memberships'>,
  { room, user }: MembershipRow,
  { changed, isNew }: JoinedEntry,
  newcomers: Set<UserId>,
): Promise<void> {
  const members = isNew || changed === '*' || hasMembers(changed)
  if (!members) return
  for (const one of (await memberships.ofRoom(room)).values()) {
    if (newcomers.size >= newcomersMax) return
    if (one.membership !== 'join' || one.user === user) continue
    if (isNew || changed === '*' || changed.has(`m.room.member\u0000${one.user}`)) {
      newcomers.add(one.user)
    }
  }
}

function hasMembers(changed: Exclude<ChangedKeys, '*'>): boolean {
  for (const key of changed) if (key.startsWith('m.room.member\u0000')) return true
  return false
}
