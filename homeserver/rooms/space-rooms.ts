/** One room as a walk through a space finds it: from our own state, or as another server tells of it. */
import {
  isRoomId,
  type RoomId,
  type ServerName,
  serverOfRoom,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import { arrayAt, type JsonObject, stringAt } from '../../spec/json.ts'
import type { Events } from '../events/events.ts'
import type { Entry } from './hierarchy-pages.ts'
import type { Onlookers } from './onlookers.ts'
import type { RemoteSpaces } from './remote-spaces.ts'
import type { Memberships } from './rooms.ts'
import { childrenOf, type SpaceChild } from './space-children.ts'
import type { Summaries } from './summary.ts'

/** What is shown of a room, and where the walk goes from there. */
export interface Found {
  readonly summary: JsonObject
  readonly children: readonly SpaceChild[]
  /** What the server that told of it knows of its children. */
  readonly told?: ReadonlyMap<RoomId, JsonObject>
  readonly inaccessible?: ReadonlySet<RoomId>
}

export interface SpaceRooms {
  /** A room that is here, whoever asks. */
  here(room: RoomId, suggestedOnly: boolean): Promise<Found | undefined>
  /** A room as a user of ours may see it. */
  look(user: UserId, entry: Entry, options: LookOptions): Promise<Found | undefined>
  /** Asks other servers already for what `look` will ask them. Never rejects. */
  prepare(user: UserId, entry: Entry, options: LookOptions): Promise<void>
}

export interface LookOptions {
  readonly suggestedOnly: boolean
  /** The children of a leaf are not wanted. */
  readonly isLeaf: boolean
}

interface Needs {
  readonly events: Pick<Events, 'currentOfType'>
  readonly memberships: Pick<Memberships, 'ofUser'>
  readonly summaries: Summaries
  readonly onlookers: Onlookers
  readonly remotes: RemoteSpaces
}

/** Rules by which anybody may come in, or knock, as other servers name them. */
const openRules: ReadonlySet<string> = new Set(['public', 'knock', 'knock_restricted'])

export function createSpaceRooms(needs: Needs): SpaceRooms {
  const { events, memberships, summaries, onlookers, remotes } = needs

  async function here(room: RoomId, suggestedOnly: boolean): Promise<Found | undefined> {
    const summary = await summaries.of(room)
    if (summary === undefined) return undefined
    const [shown] = (await summaries.shown([summary])).values()
    const links = summary.isSpace ? await events.currentOfType(room, 'm.space.child') : []
    const children = childrenOf(links.map(({ pdu }) => pdu))
    return { summary: shown ?? summary.shown, children: kept(children, suggestedOnly) }
  }

  async function elsewhere(
    user: UserId,
    entry: Entry,
    options: LookOptions,
  ): Promise<Found | undefined> {
    const { room, via, told } = entry
    const { suggestedOnly } = options
    const found: Found | undefined =
      told !== undefined && isEnough(told, options)
        ? { summary: told, children: [] }
        : await remotes.find(room, await serversFor(user, room, via), suggestedOnly)
    if (found === undefined || !(await mayEnter(user, room, found.summary))) return undefined
    return { ...found, children: kept(found.children, suggestedOnly) }
  }

  /** Servers that may know a room: who invited the user, those that are named, who made it. */
  async function serversFor(user: UserId, room: RoomId, via: readonly ServerName[]) {
    const row = (await memberships.ofUser(user)).get(room)
    const inviter = row?.membership === 'invite' ? [serverOfUser(row.sender)] : []
    const maker = serverOfRoom(room)
    return [...inviter, ...via, ...(maker === undefined ? [] : [maker])]
  }

  async function mayEnter(user: UserId, room: RoomId, summary: JsonObject): Promise<boolean> {
    const membership = (await memberships.ofUser(user)).get(room)?.membership
    if (membership === 'join' || membership === 'invite') return true
    if (summary['world_readable'] === true) return true
    if (membership === 'ban') return false
    if (openRules.has(stringAt(summary, 'join_rule') ?? 'public')) return true
    const allowed = (arrayAt(summary, 'allowed_room_ids') ?? []).filter(isRoomId)
    return await onlookers.isInAny(user, allowed)
  }

  return {
    here,
    async look(user, entry, options) {
      if (!(await onlookers.isHere(entry.room))) return await elsewhere(user, entry, options)
      const isSeen = await onlookers.userMaySee(user, entry.room)
      return isSeen ? await here(entry.room, options.suggestedOnly) : undefined
    },
    async prepare(user, { room, via, told }, options) {
      if (told !== undefined && isEnough(told, options)) return
      try {
        if (await onlookers.isHere(room)) return
        await remotes.find(room, await serversFor(user, room, via), options.suggestedOnly)
      } catch {
        // Whoever looks at the room gets the error.
      }
    },
  }
}

/** Whether nothing more would be learnt of a room than what a server has told with its parent. */
function isEnough(told: JsonObject, { isLeaf }: LookOptions): boolean {
  return isLeaf || told['room_type'] !== 'm.space'
}

function kept(children: readonly SpaceChild[], suggestedOnly: boolean): readonly SpaceChild[] {
  return suggestedOnly ? children.filter(({ suggested }) => suggested) : children
}
