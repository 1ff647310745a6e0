import type { Pdu } from '../events/event.ts'
import { isUserId, type UserId } from '../ids.ts'
import { isObject, type Json, type JsonObject } from '../json.ts'
import type { RoomVersionRules } from './version.ts'

/** The levels of `m.room.power_levels` that stand beside its maps, with their defaults. */
const namedDefaults = {
  users_default: 0,
  events_default: 0,
  state_default: 50,
  ban: 50,
  redact: 50,
  kick: 50,
  invite: 0,
} as const

/** A level with a name of its own in `m.room.power_levels`. */
export type NamedLevel = keyof typeof namedDefaults

/** Their names, in the order in which the auth rules list them. */
export const namedLevels = Object.keys(namedDefaults).filter(isNamedLevel)

/** Level that a kind of notification needs when the room says nothing about it. */
const notificationDefault = 50

/** Level of the creator of a room without power levels, before room version 12. */
const creatorDefault = 100

/** What one `m.room.power_levels` event says, its values read by the rules of its room version; only what is present. */
export interface LevelTable {
  readonly named: ReadonlyMap<NamedLevel, number>
  readonly users: ReadonlyMap<string, number>
  readonly events: ReadonlyMap<string, number>
  readonly notifications: ReadonlyMap<string, number>
}

/** The levels that hold in a room: the table, the defaults, and the creators whom nothing binds (room version 12). */
export interface PowerLevels {
  /** Users of infinite power; empty before room version 12. */
  readonly unbounded: ReadonlySet<string>
  readonly table: LevelTable
  readonly usersDefault: number
  readonly eventsDefault: number
  readonly stateDefault: number
}

/**
 * The levels of a room, from its create event and its power levels event; either may be missing.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels}
 */
export function powerLevelsOf(
  rules: RoomVersionRules,
  create: Pdu | undefined,
  powerLevels: Pdu | undefined,
): PowerLevels {
  const key = powerLevels ?? create
  if (key === undefined) return levelsWithoutEvents
  const cached = levelsCache.get(key)
  if (cached !== undefined && cached.create === create) return cached.levels
  const levels = computeLevels(rules, create, powerLevels)
  levelsCache.set(key, { create, levels })
  return levels
}

/** Power of a user; Infinity for the creators of a room of version 12. */
export function userLevel(levels: PowerLevels, user: string): number {
  if (levels.unbounded.has(user)) return Number.POSITIVE_INFINITY
  return levels.table.users.get(user) ?? levels.usersDefault
}

/** Power needed to send an event of this type, membership aside: that is governed by the named levels. */
export function levelToSend(levels: PowerLevels, type: string, isState: boolean): number {
  const fallback = isState ? levels.stateDefault : levels.eventsDefault
  return levels.table.events.get(type) ?? fallback
}

/** Power needed for a named act, e.g. `ban`. */
export function levelFor(levels: PowerLevels, name: NamedLevel): number {
  return levels.table.named.get(name) ?? namedDefaults[name]
}

/** Power needed to cause a notification of this kind, e.g. `room`. */
export function notificationLevel(levels: PowerLevels, key: string): number {
  return levels.table.notifications.get(key) ?? notificationDefault
}

/**
 * Who created the room: `content.creator` up to version 10, the sender from version 11 on, and in version 12 also
 * the additional creators. {@link https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules}
 */
export function creatorsOf(rules: RoomVersionRules, create: Pdu): ReadonlySet<UserId> {
  const creators = creatorsCache.get(create) ?? computeCreators(rules, create)
  creatorsCache.set(create, creators)
  return creators
}

/** The table of one power levels event, parsed once. */
export function levelTableOf(rules: RoomVersionRules, event: Pdu): LevelTable {
  const table = tableCache.get(event) ?? computeTable(rules, event.content)
  tableCache.set(event, table)
  return table
}

/**
 * Reads one level: an integer; up to version 9 also a string holding one, up to version 5 also a float, which is cut.
 * Undefined for anything else. {@link https://spec.matrix.org/v1.19/rooms/v9/#mroompower_levels-events-accept-values-as-strings}
 */
export function parseLevel(rules: RoomVersionRules, value: Json | undefined): number | undefined {
  if (typeof value === 'number') {
    if (Number.isSafeInteger(value)) return value
    return rules.strictCanonicalJson || !Number.isFinite(value) ? undefined : Math.trunc(value)
  }
  if (rules.integerPowerLevels || typeof value !== 'string') return undefined
  if (value.length > levelStringLengthMax || !/^\s*[+-]?[0-9]+\s*$/.test(value)) return undefined
  const level = Number.parseInt(value, 10)
  return Number.isFinite(level) ? level : undefined
}

/** Longest string read as a level; a double has 309 digits at most. */
const levelStringLengthMax = 400

const emptyTable: LevelTable = {
  named: new Map(),
  users: new Map(),
  events: new Map(),
  notifications: new Map(),
}

/** Of a room of which nothing is known. */
export const levelsWithoutEvents: PowerLevels = {
  unbounded: new Set(),
  table: emptyTable,
  usersDefault: namedDefaults.users_default,
  eventsDefault: namedDefaults.events_default,
  stateDefault: namedDefaults.state_default,
}

// Events are immutable, so what is read from one holds as long as it does.
const levelsCache = new WeakMap<Pdu, { create: Pdu | undefined; levels: PowerLevels }>()
const tableCache = new WeakMap<Pdu, LevelTable>()
const creatorsCache = new WeakMap<Pdu, ReadonlySet<UserId>>()

function computeLevels(
  rules: RoomVersionRules,
  create: Pdu | undefined,
  powerLevels: Pdu | undefined,
): PowerLevels {
  const creators = create === undefined ? new Set<UserId>() : creatorsOf(rules, create)
  const table =
    powerLevels === undefined
      ? withoutPowerLevels(rules, creators)
      : levelTableOf(rules, powerLevels)
  const named = (name: NamedLevel) => table.named.get(name) ?? namedDefaults[name]
  return {
    unbounded: rules.privilegedCreators ? creators : new Set(),
    table,
    usersDefault: named('users_default'),
    eventsDefault: named('events_default'),
    stateDefault: named('state_default'),
  }
}

function withoutPowerLevels(rules: RoomVersionRules, creators: ReadonlySet<UserId>): LevelTable {
  if (rules.privilegedCreators) return emptyTable
  return { ...emptyTable, users: new Map([...creators].map((user) => [user, creatorDefault])) }
}

function computeCreators(rules: RoomVersionRules, create: Pdu): ReadonlySet<UserId> {
  if (!rules.implicitCreator) {
    const creator = create.content['creator']
    return new Set(isUserId(creator) ? [creator] : [])
  }
  const additional = create.content['additional_creators']
  if (!rules.privilegedCreators || !Array.isArray(additional)) return new Set([create.sender])
  return new Set([create.sender, ...additional.filter(isUserId)])
}

function computeTable(rules: RoomVersionRules, content: JsonObject): LevelTable {
  const named = new Map<NamedLevel, number>()
  for (const name of namedLevels) {
    const level = parseLevel(rules, content[name])
    if (level !== undefined) named.set(name, level)
  }
  return {
    named,
    users: levelMap(rules, content['users']),
    events: levelMap(rules, content['events']),
    notifications: levelMap(rules, content['notifications']),
  }
}

function levelMap(rules: RoomVersionRules, value: Json | undefined): ReadonlyMap<string, number> {
  const levels = new Map<string, number>()
  if (!isObject(value)) return levels
  for (const [key, raw] of Object.entries(value)) {
    const level = parseLevel(rules, raw)
    if (level !== undefined) levels.set(key, level)
  }
  return levels
}

function isNamedLevel(name: string): name is NamedLevel {
  return Object.hasOwn(namedDefaults, name)
}
