import { type StateKey, stateKeyOf } from '../events/event.ts'
import { isObject, type Json, type JsonObject } from '../json.ts'
import type { RoomVersionRules } from './version.ts'

/** What of an event decides which state authorises it; a draft has it as well as a finished event. */
export interface EventToAuthorise {
  readonly type: string
  readonly sender: string
  readonly stateKey?: string | undefined
  readonly content: JsonObject
}

const createKey = stateKeyOf('m.room.create', '')
const powerLevelsKey = stateKeyOf('m.room.power_levels', '')
const joinRulesKey = stateKeyOf('m.room.join_rules', '')

/** Memberships that join rules have a say in. */
const governedByJoinRules: ReadonlySet<Json | undefined> = new Set(['join', 'invite', 'knock'])

/**
 * The keys of the state that authorises an event: what its `auth_events` are chosen from, each key once.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection}
 */
export function authEventKeys(event: EventToAuthorise, rules: RoomVersionRules): StateKey[] {
  if (event.type === 'm.room.create') return []
  const sender = stateKeyOf('m.room.member', event.sender)
  // v12+: the room id names the create event, which is no longer selected.
  const keys = rules.createHashRoomId
    ? [powerLevelsKey, sender]
    : [createKey, powerLevelsKey, sender]
  if (event.type === 'm.room.member') addMembershipKeys(keys, event, rules)
  return keys
}

/** The token of a third-party invite, from the content of the membership event that uses it. */
export function thirdPartyToken(content: JsonObject): string | undefined {
  const invite = content['third_party_invite']
  const signed = isObject(invite) ? invite['signed'] : undefined
  const token = isObject(signed) ? signed['token'] : undefined
  return typeof token === 'string' ? token : undefined
}

function addMembershipKeys(
  keys: StateKey[],
  event: EventToAuthorise,
  rules: RoomVersionRules,
): void {
  const { content, stateKey } = event
  const membership = content['membership']
  if (stateKey !== undefined && stateKey !== event.sender) {
    keys.push(stateKeyOf('m.room.member', stateKey))
  }
  if (governedByJoinRules.has(membership)) keys.push(joinRulesKey)
  if (membership === 'invite') {
    const token = thirdPartyToken(content)
    if (token !== undefined) keys.push(stateKeyOf('m.room.third_party_invite', token))
  }
  if (membership === 'join' && rules.restrictedJoin) {
    const authoriser = content['join_authorised_via_users_server']
    if (typeof authoriser !== 'string') return
    const key = stateKeyOf('m.room.member', authoriser)
    if (!keys.includes(key)) keys.push(key)
  }
}
