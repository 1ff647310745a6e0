/** The people of random rooms, and what they do. */
import { signingKeyFromSeed } from '../../spec/crypto/ed25519.ts'
import { signJson } from '../../spec/crypto/sign-json.ts'
import type { Pdu } from '../../spec/events/event.ts'
import {
  type EventId,
  parseServerName,
  parseUserId,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import { type Json, type JsonObject, objectAt } from '../../spec/json.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Setup, Step } from './history.ts'

export const alice = parseUserId('@alice:a.example')
export const bob = parseUserId('@bob:b.example')
export const carol = parseUserId('@carol:c.example')
/** On the creator's server; in version 12 perhaps a creator as well. */
export const erin = parseUserId('@erin:a.example')
const dave = parseUserId('@dave:d.example')
const frank = parseUserId('@frank:b.example')

export const users: readonly UserId[] = [alice, bob, carol, dave, erin, frank]

/** What somebody sends; where it goes and what allows it follows from the branch. */
export interface Deed {
  readonly type: string
  readonly sender: UserId
  readonly stateKey?: string
  readonly content: JsonObject
  readonly redacts?: EventId
}

interface Surroundings {
  readonly rules: RoomVersionRules
  readonly setup: Setup
  readonly events: readonly Pdu[]
  readonly read: (type: string, stateKey: string) => Pdu | undefined
}

const joinRules = [
  'public',
  'invite',
  'knock',
  'restricted',
  'knock_restricted',
  'private',
  'public',
]
const levels = [0, 25, 50, 75, 100, 150, -10]
const named = [
  'users_default',
  'events_default',
  'state_default',
  'ban',
  'kick',
  'invite',
  'redact',
]
const types = ['m.room.topic', 'm.room.power_levels', 'm.room.member', 'm.room.join_rules']

const oddLevels: readonly JsonObject[] = [
  { ban: '50' },
  { users_default: null },
  { kick: true },
  { events: { 'm.room.topic': '50' } },
  { users: { [bob]: '50' } },
  { users: { bob: 50 } },
  { notifications: 50 },
]

/** The identity server's key, and one that is not. */
const [inviteKey, otherKey] = [1, 2].map((seed) =>
  signingKeyFromSeed('ed25519:0', new Uint8Array(32).fill(seed)),
)
const identityServer = parseServerName('id.example')

export function joins(user: UserId, content: JsonObject = {}): Deed {
  return membership(user, user, 'join', content)
}

/** What one step of a plan is, done by this actor; undefined for what cannot be done here. */
export function deedOf(step: Step, sender: UserId, place: Surroundings): Deed | undefined {
  const target = users[step.target] ?? alice
  const ofRoom = (type: string, content: JsonObject): Deed => ({
    type,
    sender,
    stateKey: '',
    content,
  })
  switch (step.act) {
    case 'join':
    case 'knock':
    case 'leave':
      return membership(sender, sender, step.act)
    case 'kick':
      return membership(sender, target, 'leave')
    case 'ban':
    case 'invite':
      return membership(sender, target, step.act)
    case 'vouched join':
      return joins(sender, { join_authorised_via_users_server: target })
    case 'user level':
    case 'no user level':
    case 'named level':
    case 'type level':
    case 'notification':
      return ofRoom('m.room.power_levels', levelsAfter(step, place))
    case 'join rule':
      return ofRoom('m.room.join_rules', { join_rule: joinRules[step.level] ?? 'invite' })
    case 'no join rule':
      return ofRoom('m.room.join_rules', {})
    case 'odd level':
      // Before version 10 no text says what becomes of them.
      return place.rules.integerPowerLevels
        ? ofRoom('m.room.power_levels', oddLevels[step.level] ?? {})
        : undefined
    case 'odd membership':
      return membership(sender, target, 'visit')
    case 'topic':
      return ofRoom('m.room.topic', { topic: `${step.level}` })
    case 'server acl':
      return ofRoom('m.room.server_acl', { allow: ['*'], deny: [`${serverOfUser(target)}`] })
    case 'own state':
      return { ...ofRoom('org.example.own', {}), stateKey: step.level > 2 ? sender : target }
    case 'aliases':
      return { ...ofRoom('m.room.aliases', { aliases: [] }), stateKey: serverOfUser(target) }
    case 'third-party invite':
      return thirdPartyInvite(sender, `token${step.level % 2}`)
    case 'use third-party invite':
      return membership(sender, target, 'invite', useOfInvite(step, target))
    case 'redaction':
      return redaction(sender, place, step)
    case 'message':
    case 'merge':
      return { type: 'm.room.message', sender, content: { body: `${step.level}` } }
    default:
      return undefined
  }
}

function membership(sender: UserId, target: UserId, value: string, more: JsonObject = {}): Deed {
  const content = { membership: value, ...more }
  return { type: 'm.room.member', sender, stateKey: target, content }
}

function levelsAfter(step: Step, { read, rules, setup }: Surroundings): JsonObject {
  const now = read('m.room.power_levels', '')?.content ?? {}
  const number = levels[step.level] ?? 0
  const isText = setup.stringLevels && !rules.integerPowerLevels
  const level: Json = isText ? ` ${number < 0 ? '' : '+0'}${number} ` : number
  const target = users[step.target] ?? alice
  switch (step.act) {
    case 'user level':
      return { ...now, users: { ...objectAt(now, 'users'), [target]: level } }
    case 'no user level': {
      const { [target]: _, ...others } = objectAt(now, 'users') ?? {}
      return { ...now, users: others }
    }
    case 'named level':
      return { ...now, [named[step.target] ?? 'redact']: level }
    case 'type level': {
      const type = types[step.target % types.length] ?? 'm.room.topic'
      return { ...now, events: { ...objectAt(now, 'events'), [type]: level } }
    }
    default:
      return { ...now, notifications: { room: level } }
  }
}

function thirdPartyInvite(sender: UserId, token: string): Deed {
  const key = inviteKey?.publicKey ?? ''
  const content = {
    display_name: 'c...',
    key_validity_url: 'https://id.example/valid',
    public_key: key,
    public_keys: [{ public_key: key }],
  }
  return { type: 'm.room.third_party_invite', sender, stateKey: token, content }
}

function useOfInvite({ level, ts }: Step, target: UserId): JsonObject {
  const key = ts === 1 ? otherKey : inviteKey
  const signed = { mxid: target, token: `token${level % 2}` }
  if (key === undefined) return {}
  return {
    third_party_invite: { display_name: 'c...', signed: signJson(signed, identityServer, key) },
  }
}

function redaction(sender: UserId, { events, rules }: Surroundings, step: Step): Deed | undefined {
  const target = events[(step.level * 6 + step.target) % events.length]?.eventId
  if (target === undefined) return undefined
  const type = 'm.room.redaction'
  if (rules.redactsInContent) return { type, sender, content: { redacts: target } }
  return { type, sender, content: {}, redacts: target }
}
