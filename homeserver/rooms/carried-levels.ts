/** The power levels of a room that replaces another. */
import { stateKeyOf } from '../../spec/events/event.ts'
import type { UserId } from '../../spec/ids.ts'
import { type Json, type JsonObject, objectAt } from '../../spec/json.ts'
import {
  creatorsOf,
  type LevelTable,
  levelTableOf,
  namedLevels,
  type PowerLevels,
  powerLevelsOf,
} from '../../spec/room/power-levels.ts'
import type { Inheritance } from './carried-state.ts'

export interface CarriedLevels {
  /** What holds while the room is being made: its maker may set everything. */
  readonly first: JsonObject
  /** What holds from then on; the same object when nothing differs. */
  readonly last: JsonObject
  /** May the maker ban this user by `first`. */
  mayBan(user: string): boolean
}

/** Level of those who created the old room, where the new version gives creators none by itself. */
const creatorLevel = 100

export function carriedLevels(inheritance: Inheritance): CarriedLevels {
  const { rules, user, additionalCreators } = inheritance
  const last = finalLevels(inheritance)
  const levels = numbersOf(last)
  if (rules.privilegedCreators) {
    const creators = new Set<string>([user, ...additionalCreators])
    return { first: last, last, mayBan: (target) => !creators.has(target) }
  }
  const own = levels.users.get(user) ?? levels.usersDefault
  const needed = Math.max(levels.stateDefault, levels.ban, ...levels.events)
  const first =
    own >= needed ? last : { ...last, users: { ...objectAt(last, 'users'), [user]: needed } }
  const power = Math.max(own, needed)
  return {
    first,
    last,
    mayBan: (target) => (levels.users.get(target) ?? levels.usersDefault) < power,
  }
}

/** The old levels as the new version writes them: numbers, and no level for those who are above levels. */
function finalLevels(inheritance: Inheritance): JsonObject {
  const { state, oldRules, rules, user, additionalCreators } = inheritance
  const create = state.get(stateKeyOf('m.room.create', ''))?.pdu
  const event = state.get(stateKeyOf('m.room.power_levels', ''))?.pdu
  const content = event === undefined ? {} : contentOf(event.content, levelTableOf(oldRules, event))
  const users: Record<string, Json> = { ...objectAt(content, 'users') }
  if (rules.privilegedCreators) {
    for (const creator of [user, ...additionalCreators]) delete users[creator]
  } else if (create !== undefined && (event === undefined || oldRules.privilegedCreators)) {
    const before = powerLevelsOf(oldRules, create, event)
    const level = Math.max(creatorLevel, before.stateDefault, ...before.table.events.values())
    for (const creator of creatorsAt(before, creatorsOf(oldRules, create))) users[creator] = level
  }
  return { ...content, users }
}

/** Whoever made the old room, and whoever it counted among its makers. */
function creatorsAt({ unbounded }: PowerLevels, creators: ReadonlySet<UserId>): Set<string> {
  return new Set<string>([...unbounded, ...creators])
}

/** A table of levels as content; keys that are no levels stay as they are. */
function contentOf(content: JsonObject, table: LevelTable): JsonObject {
  const known = new Set<string>([...namedLevels, 'users', 'events', 'notifications'])
  const rest = Object.entries(content).filter(([key]) => !known.has(key))
  return {
    ...Object.fromEntries(rest),
    ...Object.fromEntries(table.named),
    users: Object.fromEntries(table.users),
    events: Object.fromEntries(table.events),
    ...(table.notifications.size > 0 && {
      notifications: Object.fromEntries(table.notifications),
    }),
  }
}

function numbersOf(content: JsonObject) {
  const number = (value: Json | undefined, otherwise: number) =>
    typeof value === 'number' ? value : otherwise
  const users = new Map<string, number>()
  for (const [user, level] of Object.entries(objectAt(content, 'users') ?? {})) {
    users.set(user, number(level, 0))
  }
  return {
    users,
    usersDefault: number(content['users_default'], 0),
    stateDefault: number(content['state_default'], 50),
    ban: number(content['ban'], 50),
    events: Object.values(objectAt(content, 'events') ?? {}).map((level) => number(level, 0)),
  }
}
