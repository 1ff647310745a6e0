import { isObject, type Json, type JsonObject } from '../json.ts'
import type { RoomVersionRules } from './version.ts'

/**
 * The event as a redaction leaves it. An event that has nothing to lose is returned as it is.
 * {@link https://spec.matrix.org/v1.19/rooms/v11/#redactions}
 */
export function redactEvent(event: JsonObject, rules: RoomVersionRules): JsonObject {
  const kept = pick(event, keptKeys(rules))
  const content = redactContent(event['type'], event['content'], rules)
  return content === kept['content'] || !('content' in kept) ? kept : { ...kept, content }
}

/** The top-level keys that survive a redaction. */
export function keptKeys(rules: RoomVersionRules): ReadonlySet<string> {
  return rules.redaction.updated ? keysKept : keysKeptUpToV10
}

/** The content as a redaction leaves it; the same object when it has nothing to lose. */
export function redactContent(
  type: Json | undefined,
  content: Json | undefined,
  rules: RoomVersionRules,
): JsonObject {
  if (!isObject(content)) return nothing
  const { updated } = rules.redaction
  switch (type) {
    case 'm.room.member':
      return redactMember(content, rules)
    // v11+: all keys
    case 'm.room.create':
      return updated ? content : pick(content, createKeys)
    case 'm.room.join_rules':
      return pick(content, rules.redaction.keepJoinRulesAllow ? joinRulesKeysV8 : joinRulesKeys)
    case 'm.room.power_levels':
      return pick(content, updated ? powerLevelsKeysV11 : powerLevelsKeys)
    case 'm.room.history_visibility':
      return pick(content, historyVisibilityKeys)
    // v1–5
    case 'm.room.aliases':
      return rules.redaction.keepAliases ? pick(content, aliasesKeys) : nothing
    // v11+
    case 'm.room.redaction':
      return updated ? pick(content, redactionKeys) : nothing
    default:
      return nothing
  }
}

function redactMember(content: JsonObject, rules: RoomVersionRules): JsonObject {
  const kept = pick(content, rules.redaction.keepMemberAuthorisedVia ? memberKeysV9 : memberKeys)
  const invite = content['third_party_invite']
  if (!rules.redaction.updated || !isObject(invite)) return kept
  // v11+: additionally, the `signed` key of the `third_party_invite` key
  const signed = pick(invite, signedKeys)
  const unchanged =
    signed === invite && Object.keys(kept).length + 1 === Object.keys(content).length
  return unchanged ? content : { ...kept, third_party_invite: signed }
}

/** Those of the object's members whose keys are listed; the same object when these are all. */
function pick(obj: JsonObject, keys: ReadonlySet<string>): JsonObject {
  const all = Object.keys(obj)
  if (all.every((key) => keys.has(key))) return obj
  const picked: Record<string, Json> = {}
  for (const key of all) {
    const value = obj[key]
    if (value !== undefined && keys.has(key)) picked[key] = value
  }
  return picked
}

const nothing: JsonObject = Object.freeze({})

const keysKept: ReadonlySet<string> = new Set([
  'event_id',
  'type',
  'room_id',
  'sender',
  'state_key',
  'content',
  'hashes',
  'signatures',
  'depth',
  'prev_events',
  'auth_events',
  'origin_server_ts',
])
const keysKeptUpToV10: ReadonlySet<string> = new Set([
  ...keysKept,
  'prev_state',
  'origin',
  'membership',
])

const memberKeys = new Set(['membership'])
const memberKeysV9 = new Set([...memberKeys, 'join_authorised_via_users_server'])
const signedKeys = new Set(['signed'])
const createKeys = new Set(['creator'])
const joinRulesKeys = new Set(['join_rule'])
const joinRulesKeysV8 = new Set([...joinRulesKeys, 'allow'])
const powerLevelsKeys = new Set([
  'ban',
  'events',
  'events_default',
  'kick',
  'redact',
  'state_default',
  'users',
  'users_default',
])
const powerLevelsKeysV11 = new Set([...powerLevelsKeys, 'invite'])
const historyVisibilityKeys = new Set(['history_visibility'])
const aliasesKeys = new Set(['aliases'])
const redactionKeys = new Set(['redacts'])
