import { canonicalJson, lenientCanonicalJson } from '../canonical-json.ts'
import { verifySignature } from '../crypto/ed25519.ts'
import type { Pdu } from '../events/event.ts'
import { isObject, type JsonObject } from '../json.ts'
import { thirdPartyToken } from './auth-events.ts'
import { levelFor, type PowerLevels, powerLevelsOf, userLevel } from './power-levels.ts'
import { type AuthVerdict, allow, reject, type StateReader } from './verdict.ts'
import type { RoomVersionRules } from './version.ts'

/** Pairs of signature and public key tried for one third-party invite; real ones have one or two of each. */
const thirdPartyChecksMax = 100

/** All that the branches of the membership rule ask for. */
interface Membership {
  readonly event: Pdu
  readonly rules: RoomVersionRules
  readonly state: StateReader
  readonly create: Pdu
  readonly levels: PowerLevels
  readonly target: string
  readonly senderMembership: string | undefined
  readonly targetMembership: string | undefined
}

/**
 * The rule for `m.room.member`. That a join was signed by the server which `join_authorised_via_users_server` names
 * (rule 5.2) is checked with the event's other signatures.
 * {@link https://spec.matrix.org/v1.19/rooms/v12/#authorization-rules}
 */
export function authorizeMember(
  event: Pdu,
  rules: RoomVersionRules,
  state: StateReader,
  create: Pdu,
): AuthVerdict {
  // 5.1: it is about somebody, and says what.
  const { stateKey: target, content } = event
  if (target === undefined) return reject('a membership has a state key')
  const membership = content['membership']
  if (typeof membership !== 'string') return reject('a membership event names no membership')

  const change: Membership = {
    event,
    rules,
    state,
    create,
    levels: powerLevelsOf(rules, create, state('m.room.power_levels', '')),
    target,
    senderMembership: membershipOf(state, event.sender),
    targetMembership: membershipOf(state, target),
  }
  switch (membership) {
    case 'join':
      return authorizeJoin(change)
    case 'invite':
      return Object.hasOwn(content, 'third_party_invite')
        ? authorizeThirdPartyInvite(change)
        : authorizeInvite(change)
    case 'leave':
      return authorizeLeave(change)
    case 'ban':
      return authorizeBan(change)
    case 'knock':
      return rules.knocking ? authorizeKnock(change) : reject('the membership is not known')
    default:
      return reject('the membership is not known')
  }
}

/** Membership of a user in a state, as far as it is a string. */
function membershipOf(state: StateReader, user: string): string | undefined {
  const membership = state('m.room.member', user)?.content['membership']
  return typeof membership === 'string' ? membership : undefined
}

/** `invite` unless the room says otherwise; undefined when it says something that is not a string. */
function joinRuleOf(state: StateReader): string | undefined {
  const rule = state('m.room.join_rules', '')?.content['join_rule'] ?? 'invite'
  return typeof rule === 'string' ? rule : undefined
}

function authorizeJoin(change: Membership): AuthVerdict {
  const { event, rules, state, create, target, targetMembership } = change
  // 5.3.1: the creator follows right after the create event.
  const [previous, ...others] = event.prevEvents
  if (previous === create.eventId && others.length === 0 && isCreator(target, create, rules)) {
    return allow
  }
  // 5.3.2, 5.3.3: nobody joins for another, nor when banned.
  if (event.sender !== target) return reject('nobody can join for another user')
  if (targetMembership === 'ban') return reject('the user is banned')

  const expected = targetMembership === 'join' || targetMembership === 'invite'
  switch (joinRuleOf(state)) {
    // 5.3.6
    case 'public':
      return allow
    // 5.3.4: those who are invited, or in the room already.
    case 'invite':
      return expected ? allow : reject('the user is not invited')
    // v7+
    case 'knock':
      return rules.knocking && expected ? allow : reject('the user is not invited')
    // 5.3.5, v8+ (knock_restricted: v10+)
    case 'restricted':
      return rules.restrictedJoin ? authorizeRestrictedJoin(change, expected) : unknownJoinRule
    case 'knock_restricted':
      return rules.knockRestricted ? authorizeRestrictedJoin(change, expected) : unknownJoinRule
    // 5.3.7
    default:
      return unknownJoinRule
  }
}

const unknownJoinRule = reject('the join rule lets nobody join')

/** The one who may join first: not the additional creators of version 12. */
function isCreator(user: string, create: Pdu, rules: RoomVersionRules): boolean {
  return user === (rules.implicitCreator ? create.sender : create.content['creator'])
}

/** A member who may invite vouches for the user. */
function authorizeRestrictedJoin(change: Membership, expected: boolean): AuthVerdict {
  if (expected) return allow
  const { event, state, levels } = change
  const authoriser = event.content['join_authorised_via_users_server']
  if (typeof authoriser !== 'string') return reject('no member vouches for the join')
  if (membershipOf(state, authoriser) !== 'join') {
    return reject('who vouches for the join is not in the room')
  }
  if (userLevel(levels, authoriser) < levelFor(levels, 'invite')) {
    return reject('who vouches for the join may not invite')
  }
  return allow
}

function authorizeInvite({
  event,
  levels,
  senderMembership,
  targetMembership,
}: Membership): AuthVerdict {
  // 5.4.2
  if (senderMembership !== 'join') return reject('the sender is not in the room')
  // 5.4.3
  if (targetMembership === 'join') return reject('the user is in the room')
  if (targetMembership === 'ban') return reject('the user is banned')
  // 5.4.4
  if (userLevel(levels, event.sender) >= levelFor(levels, 'invite')) return allow
  return reject('inviting needs more power')
}

/** 5.4.1: the invited address turned out to be this user, says the identity server by its signature. */
function authorizeThirdPartyInvite(change: Membership): AuthVerdict {
  const { event, rules, state, target, targetMembership } = change
  if (targetMembership === 'ban') return reject('the user is banned')
  const invite = event.content['third_party_invite']
  const signed = isObject(invite) ? invite['signed'] : undefined
  if (!isObject(signed)) return reject('the third-party invite is not signed')
  const token = thirdPartyToken(event.content)
  if (typeof signed['mxid'] !== 'string' || token === undefined) {
    return reject('the third-party invite lacks mxid or token')
  }
  if (signed['mxid'] !== target) return reject('the third-party invite is for another user')
  const invitation = state('m.room.third_party_invite', token)
  if (invitation === undefined) return reject('the room has no such third-party invite')
  if (invitation.sender !== event.sender) return reject('the third-party invite is another’s')
  if (isSignedByAny(signed, publicKeysOf(invitation.content), rules)) return allow
  return reject('no key of the third-party invite signed it')
}

function publicKeysOf(content: JsonObject): string[] {
  const keys = []
  if (typeof content['public_key'] === 'string') keys.push(content['public_key'])
  const more = content['public_keys']
  for (const entry of Array.isArray(more) ? more : []) {
    const key = isObject(entry) ? entry['public_key'] : undefined
    if (typeof key === 'string') keys.push(key)
  }
  return keys
}

function isSignedByAny(
  signed: JsonObject,
  publicKeys: readonly string[],
  rules: RoomVersionRules,
): boolean {
  const { signatures, unsigned: _, ...rest } = signed
  if (!isObject(signatures)) return false
  const message = rules.strictCanonicalJson ? canonicalJson(rest) : lenientCanonicalJson(rest)
  let checks = 0
  for (const ofServer of Object.values(signatures)) {
    if (!isObject(ofServer)) continue
    for (const [keyId, signature] of Object.entries(ofServer)) {
      if (!keyId.startsWith('ed25519:') || typeof signature !== 'string') continue
      for (const key of publicKeys) {
        checks += 1
        if (checks > thirdPartyChecksMax) return false
        if (verifySignature(key, message, signature)) return true
      }
    }
  }
  return false
}

function authorizeLeave(change: Membership): AuthVerdict {
  const { event, rules, levels, target, senderMembership, targetMembership } = change
  // 5.5.1: one's own leaving, an invite refused, v7+ a knock taken back.
  if (event.sender === target) {
    const present = senderMembership === 'join' || senderMembership === 'invite'
    if (present || (rules.knocking && senderMembership === 'knock')) return allow
    return reject('the user is not in the room')
  }
  // 5.5.2
  if (senderMembership !== 'join') return reject('the sender is not in the room')
  const level = userLevel(levels, event.sender)
  // 5.5.3: to unban takes the ban level as well.
  if (targetMembership === 'ban' && level < levelFor(levels, 'ban')) {
    return reject('unbanning needs more power')
  }
  // 5.5.4: only those below oneself.
  if (level >= levelFor(levels, 'kick') && userLevel(levels, target) < level) return allow
  return reject('kicking this user needs more power')
}

/** 5.6 */
function authorizeBan({ event, levels, target, senderMembership }: Membership): AuthVerdict {
  if (senderMembership !== 'join') return reject('the sender is not in the room')
  const level = userLevel(levels, event.sender)
  if (level >= levelFor(levels, 'ban') && userLevel(levels, target) < level) return allow
  return reject('banning this user needs more power')
}

/** 5.7, v7+ */
function authorizeKnock({
  event,
  rules,
  state,
  target,
  senderMembership,
}: Membership): AuthVerdict {
  const joinRule = joinRuleOf(state)
  if (joinRule !== 'knock' && !(rules.knockRestricted && joinRule === 'knock_restricted')) {
    return reject('the room cannot be knocked on')
  }
  if (event.sender !== target) return reject('nobody can knock for another user')
  if (senderMembership === 'ban' || senderMembership === 'invite' || senderMembership === 'join') {
    return reject(`the user’s membership is ${senderMembership}`)
  }
  return allow
}
