/** Which rooms a request is about: the windows of its lists, and the rooms that it names. */
import type { RoomId, UserId } from '../../../spec/ids.ts'
import { arrayAt } from '../../../spec/json.ts'
import type { Events } from '../../events/events.ts'
import type { MembershipRow } from '../../rooms/rooms.ts'
import type { ReadFacts, RoomFacts } from './facts.ts'
import type { ListFilters, ListRule, RoomRule } from './request.ts'
import type { UserRooms } from './user-rooms.ts'

export interface ListsNeeds {
  readonly events: Pick<Events, 'activity' | 'currentOfType'>
  readonly facts: ReadFacts
  readonly userRooms: UserRooms
}

/** A room of the user, with where it stands among the others. */
export interface ListedRoom {
  readonly row: MembershipRow
  /** Position of the newest thing that happened there for the user. */
  readonly last: number
  /** The newest that is worth being shown; 0 when there was none lately. */
  readonly bump: number
}

/** A list as it is now. */
export interface ListWindow {
  readonly count: number
  readonly ranges: readonly {
    readonly range: readonly [first: number, last: number]
    readonly rooms: readonly RoomId[]
  }[]
}

/** The rooms, those with the newest activity first. */
export async function sortedRooms(
  { events }: Pick<ListsNeeds, 'events'>,
  rows: readonly MembershipRow[],
): Promise<readonly ListedRoom[]> {
  const joined = rows.filter(({ membership }) => membership === 'join')
  const activity = await events.activity(joined.map(({ room }) => room))
  const listed = rows.map((row): ListedRoom => {
    const known = row.membership === 'join' ? activity.get(row.room) : undefined
    if (known === undefined) return { row, last: row.position, bump: row.position }
    return { row, last: known.last, bump: known.bump > 0 ? known.bump : row.position }
  })
  return listed.sort((a, b) => b.last - a.last)
}

/** The windows of every list over the sorted rooms. */
export async function windowsOf(
  needs: ListsNeeds,
  user: UserId,
  lists: ReadonlyMap<string, ListRule>,
  rooms: readonly ListedRoom[],
): Promise<ReadonlyMap<string, ListWindow>> {
  const windows = new Map<string, ListWindow>()
  for (const [name, { filters, ranges }] of lists) {
    const matches = await testsOf(needs, user, filters, rooms)
    const wanted = rooms.filter((room) => matches.every((test) => test(room)))
    const found = await filteredByState(needs.facts, filters, wanted)
    const all = [[0, Math.max(0, found.length - 1)] as const]
    windows.set(name, {
      count: found.length,
      ranges: (ranges ?? all).map(([first, last]) => ({
        range: [first, last],
        rooms: found.slice(first, last + 1),
      })),
    })
  }
  return windows
}

/** The rules that are in force for a room, and the lists that it is in; the same object for rooms alike. */
export interface Relevance {
  readonly rules: readonly RoomRule[]
  readonly lists: readonly string[]
}

/** Of each room of a window or a subscription. */
export function relevantRooms(
  windows: ReadonlyMap<string, ListWindow>,
  lists: ReadonlyMap<string, ListRule>,
  subscriptions: ReadonlyMap<RoomId, RoomRule>,
): ReadonlyMap<RoomId, Relevance> {
  const relevant = new Map<RoomId, Relevance>()
  for (const [name, { ranges }] of windows) {
    const rule = lists.get(name)
    if (rule === undefined) continue
    const alone: Relevance = { rules: [rule], lists: [name] }
    for (const { rooms } of ranges) {
      for (const room of rooms) {
        const before = relevant.get(room)
        if (before === undefined) relevant.set(room, alone)
        else if (!before.lists.includes(name)) relevant.set(room, joined(before, alone))
      }
    }
  }
  for (const [room, rule] of subscriptions) {
    const before = relevant.get(room)
    const alone: Relevance = { rules: [rule], lists: [] }
    relevant.set(room, before === undefined ? alone : joined(before, alone))
  }
  return relevant
}

function joined(one: Relevance, other: Relevance): Relevance {
  return { rules: [...one.rules, ...other.rules], lists: [...one.lists, ...other.lists] }
}

type Test = (room: ListedRoom) => boolean

/** The tests that need no state of the room. */
async function testsOf(
  needs: ListsNeeds,
  user: UserId,
  filters: ListFilters,
  rooms: readonly ListedRoom[],
): Promise<readonly Test[]> {
  const tests: Test[] = []
  const { isDm, spaces, isInvited } = filters
  if (isInvited !== undefined) {
    tests.push(({ row }) => (row.membership === 'invite') === isInvited)
  }
  if (isDm !== undefined) {
    const direct = await needs.userRooms.direct(user)
    tests.push(({ row }) => direct.has(row.room) === isDm)
  }
  if (filters.tags !== undefined || filters.notTags !== undefined) {
    tests.push(await tagTest(needs.userRooms, user, filters))
  }
  if (spaces !== undefined) {
    const children = await childrenOf(needs.events, spaces, rooms)
    tests.push(({ row }) => children.has(row.room))
  }
  return tests
}

async function tagTest(
  userRooms: UserRooms,
  user: UserId,
  { tags, notTags = [] }: ListFilters,
): Promise<Test> {
  const tagged = await userRooms.tags(user)
  return ({ row }) => {
    const own = tagged.get(row.room)
    if (notTags.some((tag) => own?.has(tag))) return false
    return tags === undefined || tags.some((tag) => own?.has(tag))
  }
}

/** Rooms that the spaces name as theirs, of those that the user is joined to. */
async function childrenOf(
  events: Pick<Events, 'currentOfType'>,
  spaces: readonly string[],
  rooms: readonly ListedRoom[],
): Promise<ReadonlySet<string>> {
  const wanted = new Set(spaces)
  const children = new Set<string>()
  for (const { row } of rooms) {
    if (row.membership !== 'join' || !wanted.has(row.room)) continue
    for (const { pdu, redactedBy } of await events.currentOfType(row.room, 'm.space.child')) {
      const via = redactedBy === undefined ? arrayAt(pdu.content, 'via') : undefined
      if (via !== undefined && via.length > 0 && pdu.stateKey) children.add(pdu.stateKey)
    }
  }
  return children
}

async function filteredByState(
  readFacts: ReadFacts,
  filters: ListFilters,
  rooms: readonly ListedRoom[],
): Promise<readonly RoomId[]> {
  const test = stateTestOf(filters)
  const ids = rooms.map(({ row }) => row.room)
  if (test === undefined) return ids
  const facts = await readFacts(rooms.map(({ row }) => row))
  return ids.filter((room) => {
    const known = facts.get(room)
    return known !== undefined && test(known)
  })
}

function stateTestOf(filters: ListFilters): ((facts: RoomFacts) => boolean) | undefined {
  const { isEncrypted, roomTypes, notRoomTypes, roomNameLike } = filters
  if ([isEncrypted, roomTypes, notRoomTypes, roomNameLike].every((one) => one === undefined)) {
    return undefined
  }
  const like = roomNameLike?.toLowerCase()
  return (facts) => {
    if (isEncrypted !== undefined && facts.isEncrypted !== isEncrypted) return false
    if (notRoomTypes?.includes(facts.type)) return false
    if (roomTypes !== undefined && !roomTypes.includes(facts.type)) return false
    return like === undefined || facts.name.toLowerCase().includes(like)
  }
}
