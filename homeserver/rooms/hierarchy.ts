/** Spaces: walks through their rooms for a user, and what other servers may know of one. {@link https://spec.matrix.org/v1.19/client-server-api/#discovering-rooms-within-spaces} */
import { forbidden, notFound } from '../../spec/errors.ts'
import {
  isRoomId,
  type RoomAlias,
  type RoomId,
  type ServerName,
  type UserId,
} from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import type { Events } from '../events/events.ts'
import type { Clock } from '../platform/clock.ts'
import type { Random } from '../platform/random.ts'
import type { Remote } from '../ports.ts'
import {
  createHierarchyPages,
  type Entry,
  type HierarchyPages,
  type HierarchyQuery,
  stackMax,
  type Walk,
} from './hierarchy-pages.ts'
import { createOnlookers, type Onlookers } from './onlookers.ts'
import { createRemoteSpaces } from './remote-spaces.ts'
import type { Memberships, Requester, Rooms } from './rooms.ts'
import { createSpaceRooms, type Found, type LookOptions, type SpaceRooms } from './space-rooms.ts'
import type { Summaries } from './summary.ts'

export interface Spaces {
  /**
   * A page of the rooms below a space, depth first, as far as the user may see them.
   * @throws MatrixError M_FORBIDDEN when the user may not see the space; M_INVALID_PARAM for an unknown token
   */
  hierarchy(who: Requester, room: RoomId, query: HierarchyQuery): Promise<JsonObject>
  /**
   * One room; a stranger sees only what anybody may, and of what is here.
   * @throws MatrixError M_NOT_FOUND
   */
  summary(
    who: Requester | undefined,
    target: RoomId | RoomAlias,
    via: readonly ServerName[],
  ): Promise<JsonObject>
  /**
   * A space and its children that are here, for another server.
   * @throws MatrixError M_NOT_FOUND when nobody of that server may see the space
   */
  forServer(server: ServerName, room: RoomId, suggestedOnly: boolean): Promise<JsonObject>
}

interface Needs {
  readonly serverName: ServerName
  readonly db: Database
  readonly clock: Clock
  readonly random: Random
  readonly events: Pick<Events, 'currentEntry' | 'currentOfType' | 'serversIn'>
  readonly memberships: Pick<Memberships, 'ofUser' | 'ofRoom' | 'isJoined'>
  readonly remote: Pick<Remote, 'hierarchy'>
  readonly summaries: Summaries
  readonly resolveAlias: Rooms['resolveAlias']
}

/** Rooms of one walk, children told to another server, and children of a room that are asked for at once. */
const walkMax = 2_000
const childrenToldMax = 100
const aheadMax = 8
/** How long one page may take. */
const pageMs = 20_000

export function createSpaces(needs: Needs): Spaces {
  const onlookers = createOnlookers(needs)
  const remotes = createRemoteSpaces(needs)
  const rooms = createSpaceRooms({ ...needs, onlookers, remotes })
  const pages = createHierarchyPages(needs)
  return {
    hierarchy: walker({ ...needs, rooms, pages }),
    summary: summaryReader({ ...needs, rooms, onlookers }),
    forServer: serverAnswerer({ ...needs, rooms, onlookers }),
  }
}

function walker({
  clock,
  rooms,
  pages,
}: {
  readonly clock: Clock
  readonly rooms: SpaceRooms
  readonly pages: HierarchyPages
}): Spaces['hierarchy'] {
  /** Takes rooms from the walk's stack until the page is full; what is left stands in the walk. */
  async function fill(user: UserId, walk: Walk, limit: number): Promise<JsonObject[]> {
    const page: JsonObject[] = []
    const until = clock.now() + pageMs
    while (page.length < limit && walk.seen.size < walkMax && clock.now() < until) {
      const entry = walk.stack.pop()
      if (entry === undefined) break
      if (walk.seen.has(entry.room)) continue
      walk.seen.add(entry.room)
      const options = optionsFor(walk, entry)
      const found = await rooms.look(user, entry, options)
      if (found === undefined) continue
      page.push({ ...found.summary, children_state: found.children.map(({ event }) => event) })
      if (options.isLeaf) continue
      const children = below(entry, found, walk)
      walk.stack.push(...children)
      walk.stack.splice(0, Math.max(0, walk.stack.length - stackMax))
      // Servers that are slow are slow together; what comes of it is read when it is the room's turn.
      for (const child of children.slice(-aheadMax)) {
        void rooms.prepare(user, child, optionsFor(walk, child))
      }
    }
    if (walk.seen.size >= walkMax) walk.stack.length = 0
    return page
  }

  return async ({ user }, room, query) => {
    const walk = await pages.open(user, room, query)
    // On every page: who was let out meanwhile does not go on.
    const root = { room, via: [], depth: 0 }
    const { suggestedOnly } = walk
    if ((await rooms.look(user, root, { suggestedOnly, isLeaf: false })) === undefined) {
      throw forbidden('You are not allowed to view this room.')
    }
    const page = await fill(user, walk, query.limit)
    const token = await pages.keep(user, room, walk)
    return { rooms: page, ...(token !== undefined && { next_batch: token }) }
  }
}

function optionsFor({ suggestedOnly, maxDepth }: Walk, { depth }: Entry): LookOptions {
  return { suggestedOnly, isLeaf: depth >= maxDepth }
}

/** Children of a room as they are put on the stack: the first of them is taken first. */
function below({ depth }: Entry, { children, told, inaccessible }: Found, { seen }: Walk): Entry[] {
  const entries: Entry[] = []
  for (const { room, via } of children.toReversed()) {
    if (seen.has(room) || inaccessible?.has(room)) continue
    const summary = told?.get(room)
    entries.push({ room, via, depth: depth + 1, ...(summary && { told: summary }) })
  }
  return entries
}

interface Viewing extends Pick<Needs, 'summaries' | 'memberships' | 'resolveAlias'> {
  readonly rooms: SpaceRooms
  readonly onlookers: Onlookers
}

function summaryReader(needs: Viewing): Spaces['summary'] {
  const { summaries, memberships, rooms, onlookers } = needs

  async function forStranger(room: RoomId): Promise<JsonObject> {
    const summary = (await onlookers.isHere(room)) ? await summaries.of(room) : undefined
    if (summary === undefined || !(summary.isOpen || summary.worldReadable)) throw notFound('Room')
    const [shown] = (await summaries.shown([summary])).values()
    return shown ?? summary.shown
  }

  return async (who, target, via) => {
    const { room, servers } = isRoomId(target)
      ? { room: target, servers: [] }
      : await needs.resolveAlias(target)
    if (who === undefined) return await forStranger(room)
    const entry = { room, via: [...via, ...servers], depth: 0 }
    const found = await rooms.look(who.user, entry, { suggestedOnly: true, isLeaf: true })
    if (found === undefined) throw notFound('Room')
    const membership = (await memberships.ofUser(who.user)).get(room)?.membership
    return { ...found.summary, membership: membership ?? 'leave' }
  }
}

function serverAnswerer({ summaries, rooms, onlookers }: Viewing): Spaces['forServer'] {
  return async (server, room, suggestedOnly) => {
    const isSeen = await onlookers.serverMaySee(server, room)
    const root = isSeen ? await rooms.here(room, suggestedOnly) : undefined
    if (root === undefined) throw notFound('Room')
    const seen = []
    const inaccessible: RoomId[] = []
    for (const { room: child } of root.children.slice(0, childrenToldMax)) {
      if (!(await onlookers.isHere(child))) continue
      const summary = await summaries.of(child)
      if (summary && (await onlookers.serverMaySee(server, child))) seen.push(summary)
      else inaccessible.push(child)
    }
    return {
      room: { ...root.summary, children_state: root.children.map(({ event }) => event) },
      children: [...(await summaries.shown(seen)).values()],
      inaccessible_children: inaccessible,
    }
  }
}
