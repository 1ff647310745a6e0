/**
 * The auth rules once more, rule by rule from the text of the room versions: slow, and sharing nothing with the rules
 * that they are compared with. Each function says whether an event is allowed.
 */
import { verifyJson } from '../../spec/crypto/sign-json.ts'
import type { Pdu } from '../../spec/events/event.ts'
import { parseServerName } from '../../spec/ids.ts'
import { isObject, type Json } from '../../spec/json.ts'
import {
  allowsPowerLevels,
  type Look,
  levelTo,
  powerOf,
  requiredPower,
} from './reference-levels.ts'

const domain = (id: string) => id.slice(id.indexOf(':') + 1)

/** The keys of the auth events selection, as `type|state key`. */
export function selected({ type, sender, stateKey, content }: Pdu, version: number): string[] {
  const keys = ['m.room.power_levels|', `m.room.member|${sender}`]
  if (version < 12) keys.push('m.room.create|')
  if (type !== 'm.room.member') return keys
  const { membership, third_party_invite: invite } = content
  keys.push(`m.room.member|${stateKey}`)
  if (['join', 'invite', 'knock'].includes(String(membership))) keys.push('m.room.join_rules|')
  if (membership === 'invite' && isObject(invite) && isObject(invite['signed'])) {
    keys.push(`m.room.third_party_invite|${invite['signed']['token']}`)
  }
  const authoriser = content['join_authorised_via_users_server']
  if (version >= 8 && membership === 'join' && authoriser !== undefined) {
    keys.push(`m.room.member|${authoriser}`)
  }
  return keys
}

/** "Considering the event's auth_events". */
export function allowsChoice(
  event: Pdu,
  version: number,
  authEvents: readonly Pdu[],
  isRejected: (event: Pdu) => boolean,
): boolean {
  if (event.type === 'm.room.create') return true
  const keys = authEvents.map(({ type, stateKey }) => `${type}|${stateKey}`)
  if (new Set(keys).size < keys.length) return false
  if (!keys.every((key) => selected(event, version).includes(key))) return false
  if (authEvents.some(isRejected)) return false
  if (version < 12 && !keys.includes('m.room.create|')) return false
  return authEvents.every(({ roomId }) => roomId === event.roomId)
}

/** All rules but those about auth_events and signatures. */
export function allows(event: Pdu, version: number, look: Look): boolean {
  const { type, stateKey, sender } = event
  if (type === 'm.room.create') return allowsCreate(event, version)
  const create = look('m.room.create', '')
  if (create === undefined) return false
  if (create.content['m.federate'] === false && domain(create.sender) !== domain(sender)) {
    return false
  }
  if (version <= 5 && type === 'm.room.aliases') return stateKey === domain(sender)
  if (type === 'm.room.member') return allowsMember(event, version, look, create)
  if (membershipOf(sender, look) !== 'join') return false
  const power = powerOf(sender, look, version)
  if (type === 'm.room.third_party_invite') return power >= levelTo('invite', look, version)
  if (requiredPower(event, look, version) > power) return false
  if (stateKey?.startsWith('@') && stateKey !== sender) return false
  if (type === 'm.room.power_levels') return allowsPowerLevels(event, look, version)
  if (version <= 2 && type === 'm.room.redaction') {
    if (power >= levelTo('redact', look, version)) return true
    return domain(event.redacts ?? '') === domain(event.eventId)
  }
  return true
}

function allowsCreate(event: Pdu, version: number): boolean {
  if (event.prevEvents.length > 0) return false
  if (version >= 12 && 'room_id' in event.json) return false
  if (version < 12 && domain(event.roomId) !== domain(event.sender)) return false
  if (version < 11 && event.content['creator'] === undefined) return false
  return true
}

function membershipOf(user: string, look: Look): Json | undefined {
  return look('m.room.member', user)?.content['membership']
}

function allowsMember(event: Pdu, version: number, look: Look, create: Pdu): boolean {
  const { sender, stateKey: target = '', content } = event
  const own = membershipOf(sender, look)
  const others = membershipOf(target, look)
  const power = powerOf(sender, look, version)
  const isBelow = powerOf(target, look, version) < power
  switch (content['membership']) {
    case 'join':
      return allowsJoin(event, version, look, create)
    case 'invite':
      if (content['third_party_invite'] !== undefined) return allowsThirdParty(event, look)
      if (own !== 'join' || others === 'join' || others === 'ban') return false
      return power >= levelTo('invite', look, version)
    case 'leave':
      if (sender === target) {
        return own === 'invite' || own === 'join' || (version >= 7 && own === 'knock')
      }
      if (own !== 'join') return false
      if (others === 'ban' && power < levelTo('ban', look, version)) return false
      return power >= levelTo('kick', look, version) && isBelow
    case 'ban':
      return own === 'join' && power >= levelTo('ban', look, version) && isBelow
    case 'knock': {
      const rules = version >= 10 ? ['knock', 'knock_restricted'] : ['knock']
      if (version < 7 || !rules.includes(joinRule(look)) || sender !== target) return false
      return own !== 'ban' && own !== 'invite' && own !== 'join'
    }
    default:
      return false
  }
}

/** "If no m.room.join_rules event is present, the join_rule is invite" */
function joinRule(look: Look): string {
  return String(look('m.room.join_rules', '')?.content['join_rule'] ?? 'invite')
}

function allowsJoin(event: Pdu, version: number, look: Look, create: Pdu): boolean {
  const { sender, stateKey = '', content, prevEvents } = event
  const creator = version >= 11 ? create.sender : create.content['creator']
  if (prevEvents.length === 1 && prevEvents[0] === create.eventId && stateKey === creator) {
    return true
  }
  const own = membershipOf(sender, look)
  if (sender !== stateKey || own === 'ban') return false
  const rule = joinRule(look)
  if (rule === 'public') return true
  if (rule === 'invite' || (rule === 'knock' && version >= 7)) {
    return own === 'invite' || own === 'join'
  }
  if ((rule === 'restricted' && version >= 8) || (rule === 'knock_restricted' && version >= 10)) {
    if (own === 'invite' || own === 'join') return true
    const authoriser = content['join_authorised_via_users_server']
    if (typeof authoriser !== 'string' || membershipOf(authoriser, look) !== 'join') return false
    return powerOf(authoriser, look, version) >= levelTo('invite', look, version)
  }
  return false
}

function allowsThirdParty({ sender, stateKey = '', content }: Pdu, look: Look): boolean {
  if (membershipOf(stateKey, look) === 'ban') return false
  const invite = content['third_party_invite']
  const signed = isObject(invite) ? invite['signed'] : undefined
  if (!isObject(signed) || signed['mxid'] !== stateKey) return false
  const invitation = look('m.room.third_party_invite', String(signed['token']))
  if (invitation === undefined || invitation.sender !== sender) return false
  const { public_key: key, public_keys: keys } = invitation.content
  const objects = Array.isArray(keys) ? keys.filter(isObject) : []
  const { signatures } = signed
  for (const publicKey of [key, ...objects.map((each) => each['public_key'])]) {
    for (const [server, own] of Object.entries(isObject(signatures) ? signatures : {})) {
      for (const keyId of Object.keys(isObject(own) ? own : {})) {
        if (verifyJson(signed, parseServerName(server), keyId, String(publicKey))) return true
      }
    }
  }
  return false
}
