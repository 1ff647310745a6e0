import { type Pdu, type StateKey, stateKeyOf } from '../events/event.ts'
import {
  createIdOfRoom,
  type EventId,
  isUserId,
  serverOfEventId,
  serverOfRoom,
  serverOfUser,
} from '../ids.ts'
import { authEventKeys } from './auth-events.ts'
import { authorizeMember } from './authorize-member.ts'
import { authorizePowerLevels } from './authorize-power-levels.ts'
import {
  levelFor,
  levelToSend,
  type PowerLevels,
  powerLevelsOf,
  userLevel,
} from './power-levels.ts'
import { stateOwner } from './state-owner.ts'
import { type AuthVerdict, allow, reject, type StateReader } from './verdict.ts'
import { type RoomVersionRules, rulesOf } from './version.ts'

export type { AuthVerdict, StateReader }

/**
 * Judges an event against a room state: the rules that depend on state, for every room version.
 *
 * Two duties stay with the caller, because they need more than state: that the event is signed by its sender's server
 * (and by the server of `join_authorised_via_users_server`), and in room version 12 to answer `m.room.create` from the
 * room id, as the event's own `auth_events` do not name it.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#authorization-rules}
 */
export function authorize(event: Pdu, rules: RoomVersionRules, state: StateReader): AuthVerdict {
  // 1: a create event is judged by itself.
  if (event.type === 'm.room.create') return authorizeCreate(event, rules)

  // A room begins with its create event; v12+ (rule 2): it is the one that the room id is the hash of.
  const create = state('m.room.create', '')
  if (create === undefined) return reject('the room has no create event')
  if (create.roomId !== event.roomId) return reject('the create event is of another room')

  // 3: a room with m.federate false is for users of the creator's server only.
  if (create.content['m.federate'] === false && !sameServer(create, event)) {
    return reject('the room does not federate')
  }

  // 4, v1–5: aliases may be sent by a server for itself.
  if (rules.specialAliases && event.type === 'm.room.aliases') return authorizeAliases(event)

  if (event.type === 'm.room.member') return authorizeMember(event, rules, state, create)

  // 6: everything else is for those who are in the room.
  if (state('m.room.member', event.sender)?.content['membership'] !== 'join') {
    return reject('the sender is not in the room')
  }

  const powerLevels = state('m.room.power_levels', '')
  const levels = powerLevelsOf(rules, create, powerLevels)
  const level = userLevel(levels, event.sender)

  // 7: who may invite may invite through a third party.
  if (event.type === 'm.room.third_party_invite') {
    return level >= levelFor(levels, 'invite') ? allow : reject('inviting needs more power')
  }

  // 8: the level that the event's type asks for.
  if (levelToSend(levels, event.type, event.stateKey !== undefined) > level) {
    return reject(`sending ${event.type} needs more power`)
  }

  // 9: state that is keyed by a user belongs to that user.
  if (event.stateKey?.startsWith('@') === true && event.stateKey !== event.sender) {
    if (!rules.ownedState) return reject('the state key names another user')
    // MSC3757: or to those with more power than its owner has.
    const owner = stateOwner(event.stateKey)
    if (owner === undefined) return reject('the state key begins with no user id')
    if (owner !== event.sender && level <= userLevel(levels, owner)) {
      return reject('the state key names another user, who has as much power')
    }
  }

  if (event.type === 'm.room.power_levels') {
    return authorizePowerLevels(event, rules, { create, current: powerLevels, level })
  }
  if (rules.redactionInAuth && event.type === 'm.room.redaction') {
    return authorizeRedaction(event, levels, level)
  }
  return allow
}

/**
 * Judges the choice of an event's `auth_events`: rule 2 (rules 2 and 3 of version 12).
 * @param authEvents the events named by `event.authEvents`, every one of them
 * {@link https://spec.matrix.org/v1.19/rooms/v11/#authorization-rules}
 */
export function checkAuthEvents(
  event: Pdu,
  rules: RoomVersionRules,
  authEvents: readonly Pdu[],
  isRejected: (id: EventId) => boolean,
): AuthVerdict {
  if (event.type === 'm.room.create') return allow

  // v12+, 2: the room id is that of a create event which was not rejected.
  if (rules.createHashRoomId) {
    if (event.roomId.includes(':') || isRejected(createIdOfRoom(event.roomId))) {
      return reject('the room id is not that of an accepted create event')
    }
  }

  const expected = authEventKeys(event, rules)
  const seen: StateKey[] = []
  for (const authEvent of authEvents) {
    if (authEvent.stateKey === undefined) return reject('an auth event is not a state event')
    const key = stateKeyOf(authEvent.type, authEvent.stateKey)
    // 2.1: no key twice.
    if (seen.includes(key)) return reject(`two auth events are ${authEvent.type}`)
    seen.push(key)
    // 2.2: nothing that the selection algorithm would not select.
    if (!expected.includes(key)) return reject(`${authEvent.type} does not authorise this event`)
    // 2.3: nothing that was rejected.
    if (isRejected(authEvent.eventId)) return reject('an auth event was rejected')
    // 2.5: nothing of another room.
    if (authEvent.roomId !== event.roomId) return reject('an auth event is of another room')
  }

  // 2.4, v1–11: the create event is among them.
  if (!rules.createHashRoomId && !seen.includes(createKey)) {
    return reject('the auth events lack the create event')
  }
  return allow
}

const createKey = stateKeyOf('m.room.create', '')

function authorizeCreate(event: Pdu, rules: RoomVersionRules): AuthVerdict {
  const { content } = event
  // 1.1: nothing comes before it.
  if (event.prevEvents.length > 0) return reject('a create event has no prev_events')
  if (rules.createHashRoomId) {
    // v12+, 1.2: its id becomes the room id, so it cannot carry one.
    if (Object.hasOwn(event.json, 'room_id')) return reject('a create event has no room_id')
  } else if (serverOfRoom(event.roomId) !== serverOfUser(event.sender)) {
    // v1–11, 1.2: the room id is of the sender's server.
    return reject('the room id is of another server than the sender')
  }
  // 1.3: a version that we know.
  const version = content['room_version']
  if (version !== undefined && (typeof version !== 'string' || rulesOf(version) === undefined)) {
    return reject('the room version is not known')
  }
  // v1–10, 1.4: it names the creator.
  if (!rules.implicitCreator && content['creator'] === undefined) {
    return reject('the create event names no creator')
  }
  // v12+, 1.4: additional creators are user ids.
  const additional = content['additional_creators']
  if (rules.privilegedCreators && additional !== undefined) {
    if (!Array.isArray(additional) || !additional.every(isUserId)) {
      return reject('additional_creators is not a list of user ids')
    }
  }
  return allow
}

function authorizeAliases(event: Pdu): AuthVerdict {
  if (event.stateKey === undefined) return reject('aliases are state')
  if (event.stateKey !== serverOfUser(event.sender)) return reject('aliases of another server')
  return allow
}

/** v1–2, 11: a redaction is for those of the redact level, and for the server that made the event. */
function authorizeRedaction(event: Pdu, levels: PowerLevels, level: number): AuthVerdict {
  if (level >= levelFor(levels, 'redact')) return allow
  const { redacts } = event
  if (redacts !== undefined && serverOfEventId(redacts) === serverOfEventId(event.eventId)) {
    return allow
  }
  return reject('redacting needs more power')
}

function sameServer(a: Pdu, b: Pdu): boolean {
  return a.sender === b.sender || serverOfUser(a.sender) === serverOfUser(b.sender)
}
