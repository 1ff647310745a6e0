/** What a room that replaces another begins with. {@link https://spec.matrix.org/v1.19/client-server-api/#room-upgrades} */
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import {
  isRoomAlias,
  type RoomAlias,
  type ServerName,
  serverOfAlias,
  type UserId,
} from '../../spec/ids.ts'
import { arrayAt, type Json, type JsonObject, stringAt } from '../../spec/json.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { LocalDraft } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import { carriedLevels } from './carried-levels.ts'

/** The old room, and who makes the new one of it. */
export interface Inheritance {
  readonly state: ReadonlyMap<StateKey, StoredEvent>
  readonly oldRules: RoomVersionRules
  readonly rules: RoomVersionRules
  readonly user: UserId
  /** Name and avatar for the user's join. */
  readonly profile: JsonObject
  /** Creators beside the user; empty where the new version has none. */
  readonly additionalCreators: readonly UserId[]
  /** Aliases of this server move with the room. */
  readonly serverName: ServerName
}

/** State that stands for the room itself, whoever sent it; levels, aliases, bans and links have rules of their own. */
const carriedTypes = [
  'm.room.join_rules',
  'm.room.history_visibility',
  'm.room.guest_access',
  'm.room.encryption',
  'm.room.server_acl',
  'm.room.policy',
  'm.room.name',
  'm.room.topic',
  'm.room.avatar',
] as const

const powerLevelsType = 'm.room.power_levels'
const canonicalType = 'm.room.canonical_alias'

/** Content of the new room's create event; the predecessor is the caller's to add. */
export function carriedCreation({
  state,
  rules,
  user,
  additionalCreators,
}: Inheritance): JsonObject {
  const old = entry(state, 'm.room.create')?.content ?? {}
  return {
    room_version: rules.version,
    ...(!rules.implicitCreator && { creator: user }),
    ...(old['type'] !== undefined && { type: old['type'] }),
    ...(old['m.federate'] === false && { 'm.federate': false }),
    ...(additionalCreators.length > 0 && { additional_creators: [...additionalCreators] }),
  }
}

/**
 * The events after the create event, in the order in which the auth rules take them; and the one that comes last of
 * all, by which somebody who had to be raised to set all this steps down again.
 */
export function carriedDrafts(inheritance: Inheritance): {
  readonly drafts: readonly LocalDraft[]
  readonly stepDown: LocalDraft | undefined
} {
  const { state, user, profile } = inheritance
  const draft = (type: string, content: JsonObject, stateKey = ''): LocalDraft => ({
    ...{ type, stateKey, sender: user, content },
  })
  const { first, last, mayBan } = carriedLevels(inheritance)
  const aliases = splitAliases(entry(state, canonicalType)?.content ?? {}, inheritance.serverName)
  const drafts = [
    draft('m.room.member', { ...profile, membership: 'join' }, user),
    draft(powerLevelsType, first),
  ]
  for (const type of carriedTypes) {
    const event = entry(state, type)
    if (event !== undefined) drafts.push(draft(type, event.content))
  }
  if (aliases.isAnyOurs) drafts.push(draft(canonicalType, aliases.ours))
  for (const { pdu } of state.values()) {
    const { type, stateKey, content } = pdu
    if (isLink(pdu)) drafts.push(draft(type, content, stateKey))
    else if (isBan(pdu) && mayBan(pdu.stateKey)) {
      const reason = stringAt(content, 'reason')
      const ban = { membership: 'ban', ...(reason !== undefined && { reason }) }
      drafts.push(draft(type, ban, stateKey))
    }
  }
  return { drafts, stepDown: first === last ? undefined : draft(powerLevelsType, last) }
}

/** The names of a room, parted into those of this server, which move, and the others, which stay. */
export function splitAliases(
  content: JsonObject,
  serverName: ServerName,
): { readonly ours: JsonObject; readonly others: JsonObject; readonly isAnyOurs: boolean } {
  const isOurs = (alias: Json | undefined): alias is RoomAlias =>
    isRoomAlias(alias) && serverOfAlias(alias) === serverName
  const { alias, alt_aliases: _, ...rest } = content
  const alternatives = arrayAt(content, 'alt_aliases') ?? []
  const ours = alternatives.filter(isOurs)
  const others = alternatives.filter((one) => !isOurs(one))
  return {
    isAnyOurs: isOurs(alias) || ours.length > 0,
    ours: {
      ...(isOurs(alias) && { alias }),
      ...(ours.length > 0 && { alt_aliases: ours }),
    },
    others: {
      ...rest,
      ...(alias !== undefined && !isOurs(alias) && { alias }),
      ...(others.length > 0 && { alt_aliases: others }),
    },
  }
}

function entry(state: Inheritance['state'], type: string): Pdu | undefined {
  return state.get(stateKeyOf(type, ''))?.pdu
}

/** Rooms of a space, and spaces of a room; what has no `via` was taken out. */
function isLink({ type, stateKey, content }: Pdu): boolean {
  const isOne = type === 'm.space.child' || type === 'm.space.parent'
  return isOne && stateKey !== undefined && arrayAt(content, 'via') !== undefined
}

function isBan(pdu: Pdu): pdu is Pdu & { readonly stateKey: string } {
  const { type, stateKey, content } = pdu
  return type === 'm.room.member' && stateKey !== undefined && content['membership'] === 'ban'
}
