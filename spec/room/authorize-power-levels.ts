import type { Pdu } from '../events/event.ts'
import { isUserId } from '../ids.ts'
import { isObject, type Json, type JsonObject } from '../json.ts'
import { creatorsOf, levelTableOf, namedLevels, parseLevel } from './power-levels.ts'
import { type AuthVerdict, allow, reject } from './verdict.ts'
import type { RoomVersionRules } from './version.ts'

/** What a change of power levels is measured against. */
export interface PowerLevelsContext {
  readonly create: Pdu
  /** The power levels that hold now. */
  readonly current: Pdu | undefined
  /** The sender's power now. */
  readonly level: number
}

type Levels = ReadonlyMap<string, number>

/**
 * The rule for `m.room.power_levels`: nobody gives, takes or touches a level above their own.
 * {@link https://spec.matrix.org/v1.19/rooms/v12/#authorization-rules}
 */
export function authorizePowerLevels(
  event: Pdu,
  rules: RoomVersionRules,
  { create, current, level }: PowerLevelsContext,
): AuthVerdict {
  // v10+, 10.1, 10.2
  const levels = checkLevels(event.content, rules)
  if (rules.integerPowerLevels && levels.kind === 'reject') return levels
  // 10.3
  const users = checkUsers(event.content, rules)
  if (users.kind === 'reject') return users

  const next = levelTableOf(rules, event)
  // v12+, 10.4: creators have no entry, as no entry could bind them.
  if (rules.privilegedCreators) {
    for (const creator of creatorsOf(rules, create)) {
      if (next.users.has(creator)) return reject('power levels name a creator')
    }
  }

  // 10.5: the first power levels of a room are free.
  if (current === undefined) return allow
  // v1–9: a level that cannot be read cannot be compared. The text says nothing of it; servers in the field refuse it.
  if (levels.kind === 'reject') return levels
  const now = levelTableOf(rules, current)

  // 10.6: named levels added, changed or removed; neither side above the sender's.
  if (!changesWithin(now.named, next.named, level)) return reject('a level above the sender’s')
  // 10.7, 10.8: the same for event types, and v6+ for notifications.
  if (!changesWithin(now.events, next.events, level)) {
    return reject('an event type with a level above the sender’s')
  }
  if (
    rules.limitNotificationsPowerLevels &&
    !changesWithin(now.notifications, next.notifications, level)
  ) {
    return reject('a notification with a level above the sender’s')
  }
  // 10.10: no user above the sender.
  if (!changesWithin(now.users, next.users, level)) {
    return reject('a user with a level above the sender’s')
  }
  // 10.9: nor is an equal of the sender changed or removed, but for the sender.
  for (const [user, old] of now.users) {
    if (old >= level && user !== event.sender && next.users.get(user) !== old) {
      return reject('a user of the sender’s level or above would change')
    }
  }
  return allow
}

/** 10.1, 10.2: named levels can be read, and so can the values of events and (v6+) notifications. */
function checkLevels(content: JsonObject, rules: RoomVersionRules): AuthVerdict {
  for (const name of namedLevels) {
    if (content[name] !== undefined && parseLevel(rules, content[name]) === undefined) {
      return reject(`${name} is not a level`)
    }
  }
  const { events, notifications } = content
  if (!isLevelMap(events, rules)) return reject('events is not a map of levels')
  if (rules.limitNotificationsPowerLevels && !isLevelMap(notifications, rules)) {
    return reject('notifications is not a map of levels')
  }
  return allow
}

/** 10.3: users maps user ids to levels. */
function checkUsers({ users }: JsonObject, rules: RoomVersionRules): AuthVerdict {
  if (!isLevelMap(users, rules)) return reject('users is not a map of levels')
  if (isObject(users) && !Object.keys(users).every(isUserId)) {
    return reject('users has a key that is not a user id')
  }
  return allow
}

function isLevelMap(value: Json | undefined, rules: RoomVersionRules): boolean {
  if (value === undefined) return true
  if (!isObject(value)) return false
  return Object.values(value).every((level) => parseLevel(rules, level) !== undefined)
}

/** Whether every entry that differs between the two is at most `level` on both sides. */
function changesWithin(now: Levels, next: Levels, level: number): boolean {
  for (const [key, old] of now) {
    if (old > level && next.get(key) !== old) return false
  }
  for (const [key, value] of next) {
    if (value > level && now.get(key) !== value) return false
  }
  return true
}
