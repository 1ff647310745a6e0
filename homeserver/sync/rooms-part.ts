/** The part of an answer that has the rooms: which there are, and an entry for each that has news. */
import { isUserId, type RoomId, type UserId } from '../../spec/ids.ts'
import type { AccountData } from '../accounts/account-data.ts'
import type { Events } from '../events/events.ts'
import type { Notifications } from '../notifications/notifications.ts'
import type { Unread } from '../notifications/unread.ts'
import type { Logger } from '../platform/log.ts'
import type { MembershipRow, Memberships } from '../rooms/rooms.ts'
import { type EventWriter, memberOf, objectOf } from './event-text.ts'
import { readAhead } from './pieces.ts'
import type { ChangedKeys } from './recent.ts'
import type { Scope } from './request.ts'
import { type JoinedEntry, joinedEntry, leftEntry, type RoomEntryNeeds } from './room-entry.ts'
import { type EphemeralNeeds, readEphemeral } from './room-ephemeral.ts'
import { sortRooms } from './sort-rooms.ts'
import { readStripped, type StrippedNeeds } from './stripped-state.ts'
import { withoutUnwanted } from './wanted-invites.ts'

export interface RoomsPartNeeds
  extends RoomEntryNeeds,
    EphemeralNeeds,
    Omit<StrippedNeeds, 'events' | 'rooms'> {
  readonly events: RoomEntryNeeds['events'] & Pick<Events, 'partial'>
  readonly memberships: Pick<Memberships, 'ofRoom'>
  readonly accountData: Pick<AccountData, 'invitePermission'>
  readonly notifications: Pick<Notifications, 'unreadCounts'>
  readonly log: Logger
}

export interface RoomsPart {
  /** `"rooms":{…}`, or nothing. */
  readonly text: string | undefined
  /** Users whom the requester began to share a room with. */
  readonly newcomers: ReadonlySet<UserId>
}

/** Rooms read at a time, and ahead of a client that is sent one after the other. */
const roomsAtOnce = 8
const aheadMax = 4
/** Members of a newly joined room whose presence is told. */
const newcomersMax = 1_000

type AccountDataByRoom = ReadonlyMap<RoomId | undefined, readonly string[]>
const none: readonly string[] = []
const memberPrefix = 'm.room.member\u0000'

/** A section of the answer, and how the entry of each room in it is read. */
interface Section {
  readonly name: 'join' | 'invite' | 'knock' | 'leave'
  readonly rows: readonly MembershipRow[]
  readonly read: (row: MembershipRow) => Promise<string | undefined>
}

export async function readRooms(
  needs: RoomsPartNeeds,
  rows: readonly MembershipRow[],
  accountData: AccountDataByRoom,
  scope: Scope,
  write: EventWriter,
): Promise<RoomsPart> {
  const newcomers = new Set<UserId>()
  const members: (string | undefined)[] = []
  for (const section of await sectionsOf(needs, rows, { accountData, newcomers }, scope, write)) {
    members.push(memberOf(section.name, await entries(needs, section)))
  }
  const isEmpty = members.every((member) => member === undefined)
  return { text: isEmpty ? undefined : `"rooms":${objectOf(members)}`, newcomers }
}

/** The same in pieces, the first of which begins with a comma; `newcomers` are complete when they are at an end. */
export async function* roomPieces(
  needs: RoomsPartNeeds,
  rows: readonly MembershipRow[],
  found: Found,
  scope: Scope,
  write: EventWriter,
): AsyncGenerator<string> {
  let isOpen = false
  for (const section of await sectionsOf(needs, rows, found, scope, write)) {
    let isFirst = true
    for await (const [room, text] of readAhead(
      section.rows,
      aheadMax,
      entryReader(needs, section),
    )) {
      const opening = `${isOpen ? ',' : ',"rooms":{'}"${section.name}":{`
      yield `${isFirst ? opening : ','}${JSON.stringify(room)}:${text}`
      isFirst = false
      isOpen = true
    }
    if (!isFirst) yield '}'
  }
  if (isOpen) yield '}'
}

/** What was read already, and what is gathered on the way. */
interface Found {
  readonly accountData: AccountDataByRoom
  readonly newcomers: Set<UserId>
}

async function sectionsOf(
  needs: RoomsPartNeeds,
  rows: readonly MembershipRow[],
  { accountData, newcomers }: Found,
  scope: Scope,
  write: EventWriter,
): Promise<readonly Section[]> {
  const sorted = sortRooms(rows, scope)
  const ephemeral = await readEphemeral(needs, sorted.joined, scope)
  const dataOf = (room: RoomId) => accountData.get(room) ?? none
  const partial = await needs.events.partial.view()
  const isLazy = scope.filter.room?.state?.lazy_load_members === true
  const candidates = sorted.joined.filter(
    (row) =>
      // Who wants all members gets a room when they are here.
      (isLazy || !partial.has(row.room)) &&
      (ephemeral.has(row.room) || accountData.has(row.room) || mayHaveNews(needs, row, scope)),
  )
  const unread = await readUnread(needs, candidates, scope)
  const wanted = await withoutUnwanted(needs.accountData, scope.user, sorted.invited)
  const stripped = (name: string) => async (row: MembershipRow) =>
    `{"${name}":${await readStripped(needs, row)}}`
  const readJoined = async (row: MembershipRow) => {
    const { room } = row
    const extras = {
      ephemeral: ephemeral.get(room) ?? none,
      accountData: dataOf(room),
      unread: unread.get(room),
    }
    const entry = await joinedEntry(needs, row, extras, scope, write)
    // In a first sync whoever is online is new.
    if (entry !== undefined && scope.since !== undefined) {
      await addNewcomers(needs, row, entry, newcomers)
    }
    return entry?.text
  }
  const readLeft = (row: MembershipRow) => leftEntry(needs, row, dataOf(row.room), scope, write)
  return [
    { name: 'join', rows: candidates, read: readJoined },
    { name: 'invite', rows: wanted, read: stripped('invite_state') },
    { name: 'knock', rows: sorted.knocked, read: stripped('knock_state') },
    { name: 'leave', rows: sorted.left, read: readLeft },
  ]
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

/** Entries by room, in order. */
async function entries(
  needs: Pick<RoomsPartNeeds, 'log'>,
  section: Section,
): Promise<Map<RoomId, string>> {
  const texts = new Map<RoomId, string>()
  const rest = [...section.rows].reverse()
  const read = entryReader(needs, section)
  const runner = async () => {
    for (let row = rest.pop(); row !== undefined; row = rest.pop()) {
      const entry = await read(row)
      if (entry !== undefined) texts.set(...entry)
    }
  }
  await Promise.all(Array.from({ length: Math.min(roomsAtOnce, rest.length) }, runner))
  return texts
}

/** Reads the entry of a room; one that cannot be read is left out. */
function entryReader({ log }: Pick<RoomsPartNeeds, 'log'>, { read }: Section) {
  return async (row: MembershipRow): Promise<[RoomId, string] | undefined> => {
    try {
      const text = await read(row)
      return text === undefined ? undefined : [row.room, text]
    } catch (error) {
      log.error({ room: row.room, user: row.user, error }, 'room left out of a sync')
      return undefined
    }
  }
}

/** Those who joined, or everybody in a room that the requester joined. */
async function addNewcomers(
  { memberships }: Pick<RoomsPartNeeds, 'memberships'>,
  { room, user }: MembershipRow,
  { changed, isNew }: JoinedEntry,
  newcomers: Set<UserId>,
): Promise<void> {
  const found = isNew || changed === '*' ? '*' : membersIn(changed)
  if (found !== '*' && found.length === 0) return
  const rows = await memberships.ofRoom(room)
  for (const one of found === '*' ? rows.keys() : found) {
    if (newcomers.size >= newcomersMax) return
    if (one !== user && rows.get(one)?.membership === 'join') newcomers.add(one)
  }
}

function membersIn(changed: Exclude<ChangedKeys, '*'>): UserId[] {
  const found: UserId[] = []
  for (const key of changed) {
    const user = key.startsWith(memberPrefix) ? key.slice(memberPrefix.length) : undefined
    if (isUserId(user)) found.push(user)
  }
  return found
}
