/** Power levels and the rule about changing them, once more, straight from the text of the room versions. */
import type { Pdu } from '../../spec/events/event.ts'
import { isObject, type Json, type JsonObject } from '../../spec/json.ts'

/** The state that a rule looks at. */
export type Look = (type: string, stateKey: string) => Pdu | undefined

/** A level as a version reads it; undefined for what is none. */
function read(value: Json | undefined, version: number): number | undefined {
  if (typeof value === 'number' && Number.isInteger(value)) return value
  const isText = version <= 9 && typeof value === 'string' && /^\s*[-+]?\d+\s*$/.test(value)
  return isText ? Number(value) : undefined
}

function entries(content: JsonObject | undefined, name: string): [string, Json][] {
  const value = content?.[name]
  return typeof value === 'object' && value !== null ? Object.entries(value) : []
}

function entry(content: JsonObject, name: string, key: string): Json | undefined {
  return entries(content, name).find(([each]) => each === key)?.[1]
}

/** "Room creators" of version 12, whose power is infinitely high. */
function creators(create: Pdu): Json[] {
  const more = create.content['additional_creators']
  return [create.sender, ...(Array.isArray(more) ? more : [])]
}

/** The power level of a user. */
export function powerOf(user: string, look: Look, version: number): number {
  const create = look('m.room.create', '')
  const levels = look('m.room.power_levels', '')
  if (version >= 12 && create !== undefined && creators(create).includes(user)) {
    return Number.POSITIVE_INFINITY
  }
  if (levels === undefined) {
    // "If the room contains no m.room.power_levels event, the room's creator has a power level of 100".
    const creator = version >= 11 ? create?.sender : create?.content['creator']
    return version < 12 && creator === user ? 100 : 0
  }
  const own = read(entry(levels.content, 'users', user), version)
  return own ?? read(levels.content['users_default'], version) ?? 0
}

/** The invite, kick, ban or redact level. */
export function levelTo(act: 'invite' | 'kick' | 'ban' | 'redact', look: Look, version: number) {
  const level = read(look('m.room.power_levels', '')?.content[act], version)
  return level ?? (act === 'invite' ? 0 : 50)
}

/** The required power level of an event. */
export function requiredPower({ type, stateKey }: Pdu, look: Look, version: number): number {
  const content = look('m.room.power_levels', '')?.content ?? {}
  const own = read(entry(content, 'events', type), version)
  if (own !== undefined) return own
  return stateKey === undefined
    ? (read(content['events_default'], version) ?? 0)
    : (read(content['state_default'], version) ?? 50)
}

/** Rule 10 of versions 1 to 5, 10, 11 and 12, rule 9 of versions 6 to 9: "If type is m.room.power_levels". */
export function allowsPowerLevels(event: Pdu, look: Look, version: number): boolean {
  const { content, sender } = event
  const isNoMap = (value: Json | undefined) => value !== undefined && !isObject(value)
  const isLevel = (value: Json | undefined) => read(value, version) !== undefined
  const names = [
    'users_default',
    'events_default',
    'state_default',
    'ban',
    'redact',
    'kick',
    'invite',
  ]
  if (version >= 10) {
    if (names.some((name) => content[name] !== undefined && !isLevel(content[name]))) return false
    for (const name of ['events', 'notifications']) {
      if (isNoMap(content[name])) return false
      if (entries(content, name).some(([, value]) => !isLevel(value))) return false
    }
  }
  if (isNoMap(content['users'])) return false
  const users = entries(content, 'users')
  if (users.some(([user, value]) => !/^@[^:]*:.+$/.test(user) || !isLevel(value))) return false
  const create = look('m.room.create', '')
  if (version >= 12 && create !== undefined) {
    if (users.some(([user]) => creators(create).includes(user))) return false
  }

  const current = look('m.room.power_levels', '')
  if (current === undefined) return true
  const own = powerOf(sender, look, version)

  /** Every alteration: where it is, the current value, the new one; undefined for none. */
  const changes: [string, string, number | undefined, number | undefined][] = []
  const compare = (map: string, key: string, was: Json | undefined, is: Json | undefined) => {
    const [old, now] = [read(was, version), read(is, version)]
    if (old !== now) changes.push([map, key, old, now])
  }
  for (const name of names) compare('', name, current.content[name], content[name])
  for (const map of version >= 6 ? ['events', 'notifications', 'users'] : ['events', 'users']) {
    const keys = [...entries(current.content, map), ...entries(content, map)].map(([key]) => key)
    for (const key of new Set(keys)) {
      compare(map, key, entry(current.content, map, key), entry(content, map, key))
    }
  }
  for (const [map, key, old, now] of changes) {
    // "If the new value is greater than the sender's current power level, reject."
    if (now !== undefined && now > own) return false
    if (old === undefined) continue
    // "… the users property, other than the sender's own entry: … greater than or equal to …, reject."
    if (map === 'users' && key !== sender && old >= own) return false
    // "If the current value is greater than the sender's current power level, reject."
    if (map !== 'users' && old > own) return false
  }
  return true
}
