/** Where walks through spaces stop and go on. Owns `hierarchy_pages`. */
import { invalidParam } from '../../spec/errors.ts'
import type { RoomId, ServerName, UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import type { Random } from '../platform/random.ts'
import { findHierarchyPage, insertHierarchyPage } from './queries.ts'

/** What a client asks of a space. */
export interface HierarchyQuery {
  readonly suggestedOnly: boolean
  readonly limit: number
  readonly maxDepth?: number
  /** Token of the page before. */
  readonly from?: string
}

/** A room that a walk has still to look at. */
export interface Entry {
  readonly room: RoomId
  readonly via: readonly ServerName[]
  readonly depth: number
  /** What another server has told of it. */
  readonly told?: JsonObject
}

/** A walk through a space: what is before it, and what is behind it. */
export interface Walk {
  readonly suggestedOnly: boolean
  readonly maxDepth: number
  /** The last one is next. */
  readonly stack: Entry[]
  readonly seen: Set<RoomId>
}

export interface HierarchyPages {
  /** @throws MatrixError M_INVALID_PARAM for a token that is unknown, or of another walk */
  open(user: UserId, room: RoomId, query: HierarchyQuery): Promise<Walk>
  /** The token to go on with; undefined at the end of the walk. */
  keep(user: UserId, room: RoomId, walk: Walk): Promise<string | undefined>
}

interface Needs {
  readonly db: Database
  readonly clock: Clock
  readonly random: Random
}

/** Levels below the first room, and how long a token is good. */
const depthMax = 30
const tokenMs = 10 * 60_000
const tokenLength = 24
/** Rooms that wait in a walk; those that would come last give way. */
export const stackMax = 2_000
/** Characters of a kept walk; beyond that what other servers told is asked for anew. */
const stateLengthMax = 1_048_576

export function createHierarchyPages({ db, clock, random }: Needs): HierarchyPages {
  return {
    async open(user, room, { suggestedOnly, maxDepth: asked, from }) {
      const maxDepth = Math.min(asked ?? depthMax, depthMax)
      if (from === undefined) {
        return { suggestedOnly, maxDepth, stack: [{ room, via: [], depth: 0 }], seen: new Set() }
      }
      const text = await findHierarchyPage(db, { token: from, user, room, now: clock.now() })
      if (text === undefined) throw invalidParam('from', 'unknown token')
      const { seen, ...walk } = read(text)
      if (walk.suggestedOnly !== suggestedOnly || walk.maxDepth !== maxDepth) {
        throw invalidParam('from', 'suggested_only and max_depth cannot change between pages')
      }
      return { ...walk, seen: new Set(seen) }
    },
    async keep(user, room, { stack, seen, ...walk }) {
      const left = stack.filter((entry) => !seen.has(entry.room)).slice(-stackMax)
      if (left.length === 0) return undefined
      const token = random.text(tokenLength)
      const now = clock.now()
      const whole = JSON.stringify({ ...walk, stack: left, seen: [...seen] })
      const state =
        whole.length <= stateLengthMax
          ? whole
          : JSON.stringify({ ...walk, stack: left.map(withoutTold), seen: [...seen] })
      await insertHierarchyPage(db, { token, user, room, now, until: now + tokenMs, state })
      return token
    },
  }
}

function withoutTold({ room, via, depth }: Entry): Entry {
  return { room, via, depth }
}

/** What `keep` wrote. */
function read(text: string): Omit<Walk, 'seen'> & { readonly seen: readonly RoomId[] } {
  return JSON.parse(text)
}
