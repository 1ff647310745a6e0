/** The first events of a room after its create event, in the order of the specification. {@link https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom} */
import type { RoomAlias, UserId } from '../../spec/ids.ts'
import { isObject, type Json, type JsonObject } from '../../spec/json.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { LocalDraft } from '../events/events.ts'
import type { CreateRoomRequest } from './rooms.ts'

/** All that the first events are made from. */
export interface Beginning {
  readonly request: CreateRoomRequest
  readonly rules: RoomVersionRules
  readonly user: UserId
  readonly alias: RoomAlias | undefined
  /** Names and avatars of the creator and of those of `local`. */
  readonly profiles: ReadonlyMap<UserId, JsonObject>
  readonly invited: readonly UserId[]
  /** The invited users of this server: their invites are among the first events. */
  readonly local: readonly UserId[]
}

const powerLevelsType = 'm.room.power_levels'

export function firstState(beginning: Beginning): readonly LocalDraft[] {
  const { request, user, alias, profiles } = beginning
  const state = new StateList(user)
  const given = new Set(
    (request.initialState ?? []).map(({ type, stateKey }) => keyOf(type, stateKey ?? '')),
  )
  const unlessGiven = (type: string, content: JsonObject) => {
    if (!given.has(keyOf(type, ''))) state.add(type, content)
  }

  state.add('m.room.member', { ...profiles.get(user), membership: 'join' }, user)
  // Power levels in initial_state stand in the place of ours, at the beginning.
  const ownLevels = request.initialState?.findLast(
    ({ type, stateKey }) => type === powerLevelsType && (stateKey ?? '') === '',
  )
  state.add(powerLevelsType, ownLevels?.content ?? powerLevels(beginning))
  if (alias !== undefined) unlessGiven('m.room.canonical_alias', { alias })

  const { joinRule, guestsMayJoin } = presets[presetOf(request)]
  unlessGiven('m.room.join_rules', { join_rule: joinRule })
  unlessGiven('m.room.history_visibility', { history_visibility: 'shared' })
  if (guestsMayJoin) unlessGiven('m.room.guest_access', { guest_access: 'can_join' })

  for (const { type, stateKey = '', content } of request.initialState ?? []) {
    if (type === powerLevelsType && stateKey === '') continue
    state.add(type, content, stateKey)
  }
  if (request.name) state.add('m.room.name', { name: request.name })
  if (request.topic) state.add('m.room.topic', topicContent(request.topic))
  for (const invitee of beginning.local)
    state.add('m.room.member', invite(beginning, invitee), invitee)
  return state.drafts
}

/** The state of a room that is being made; what is set twice is sent once, with the last value. */
class StateList {
  readonly #user: UserId
  readonly #byKey = new Map<string, LocalDraft>()

  constructor(user: UserId) {
    this.#user = user
  }

  get drafts(): readonly LocalDraft[] {
    return [...this.#byKey.values()]
  }

  add(type: string, content: JsonObject, stateKey = ''): void {
    this.#byKey.set(keyOf(type, stateKey), { type, stateKey, sender: this.#user, content })
  }
}

function keyOf(type: string, stateKey: string): string {
  return `${type}\u0000${stateKey}`
}

interface Preset {
  readonly joinRule: 'public' | 'invite'
  readonly guestsMayJoin: boolean
  /** Whether the invited get the creator's level. */
  readonly trustsInvited: boolean
  readonly inviteLevel: number
}

type PresetName = NonNullable<CreateRoomRequest['preset']>

/** {@link https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom} */
const presets: Readonly<Record<PresetName, Preset>> = {
  private_chat: {
    joinRule: 'invite',
    guestsMayJoin: true,
    trustsInvited: false,
    inviteLevel: 0,
  },
  trusted_private_chat: {
    joinRule: 'invite',
    guestsMayJoin: true,
    trustsInvited: true,
    inviteLevel: 0,
  },
  public_chat: {
    joinRule: 'public',
    guestsMayJoin: false,
    trustsInvited: false,
    inviteLevel: 50,
  },
}

/** Without a preset the room's visibility says which. */
function presetOf({ preset, visibility }: CreateRoomRequest): PresetName {
  return preset ?? (visibility === 'public' ? 'public_chat' : 'private_chat')
}

function powerLevels({ request, rules, user, invited }: Beginning): JsonObject {
  const preset = presets[presetOf(request)]
  const users: Record<string, Json> = {}
  // v12+: creators have no level in the list.
  if (!rules.privilegedCreators) {
    users[user] = 100
    if (preset.trustsInvited) for (const invitee of invited) users[invitee] = 100
  }
  return {
    ban: 50,
    events: {
      'm.room.avatar': 50,
      'm.room.canonical_alias': 50,
      'm.room.encryption': 100,
      'm.room.history_visibility': 100,
      'm.room.name': 50,
      'm.room.power_levels': 100,
      'm.room.server_acl': 100,
      'm.room.tombstone': rules.privilegedCreators ? 150 : 100,
      ...(presetOf(request) === 'public_chat' && { 'm.call.invite': 50 }),
    },
    events_default: 0,
    historical: 100,
    invite: preset.inviteLevel,
    kick: 50,
    redact: 50,
    state_default: 50,
    users,
    users_default: 0,
    ...overriding(request.powerLevelContentOverride),
  }
}

function overriding(override: JsonObject | undefined): JsonObject {
  return override !== undefined && isObject(override) ? override : {}
}

/** {@link https://spec.matrix.org/v1.19/client-server-api/#mroomtopic} */
function topicContent(topic: string): JsonObject {
  return { topic, 'm.topic': { 'm.text': [{ body: topic }] } }
}

function invite({ request, profiles }: Beginning, user: UserId): JsonObject {
  return {
    ...profiles.get(user),
    membership: 'invite',
    ...(request.isDirect === true && { is_direct: true }),
  }
}
