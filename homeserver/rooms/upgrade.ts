/** Replacing a room by one of another version. {@link https://spec.matrix.org/v1.19/client-server-api/#room-upgrades} */
import { forbidden, invalidParam, MatrixError, notFound } from '../../spec/errors.ts'
import { parseRoomId, type RoomId, type ServerName, type UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { levelFor, levelToSend, powerLevelsOf, userLevel } from '../../spec/room/power-levels.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Events, LocalDraft } from '../events/events.ts'
import type { Random } from '../platform/random.ts'
import { carriedCreation, carriedDrafts, type Inheritance, splitAliases } from './carried-state.ts'
import { filled } from './change-core.ts'
import { requireRoomVersion } from './create.ts'
import type { Memberships, Requester, UpgradeRequest } from './rooms.ts'

export interface Upgrading {
  /**
   * Makes the room's replacement and says so in the room; the members are not moved. Answers the new room.
   * @throws MatrixError M_FORBIDDEN, M_UNSUPPORTED_ROOM_VERSION, M_INVALID_PARAM
   */
  upgrade(who: Requester, room: RoomId, request: UpgradeRequest): Promise<RoomId>
}

interface Needs {
  readonly serverName: ServerName
  readonly random: Random
  readonly events: Events
  readonly memberships: Pick<Memberships, 'isJoined' | 'ofUser'>
  readonly profileOf: (user: UserId) => Promise<JsonObject>
  /** Carries aliases and the place in the public list from one room to another. */
  readonly moveNames: (from: RoomId, to: RoomId) => Promise<void>
}

/** Events in the new room's first write; the others follow one by one. */
const firstDraftsMax = 1_000
const additionalCreatorsMax = 100
/** Rooms of the user that are looked at for links to the old room. */
const spacesMax = 1_000
const roomIdLength = 18
/** Nobody below this level speaks or invites in a room that was replaced. */
const quietLevel = 50

export function createUpgrading(needs: Needs): Upgrading {
  /** Two people, or one twice, who upgrade a room at the same time must not make two rooms of it. */
  const underWay = new Map<RoomId, { readonly key: string; readonly room: Promise<RoomId> }>()

  return {
    async upgrade(who, room, request) {
      const key = JSON.stringify([who.user, request.version, request.additionalCreators ?? []])
      const running = underWay.get(room)
      if (running?.key === key) return await running.room
      if (running !== undefined) {
        throw new MatrixError('M_UNKNOWN', 'The room is being upgraded', { status: 400 })
      }
      const replacing = replace(needs, who, room, request)
      underWay.set(room, { key, room: replacing })
      try {
        return await replacing
      } finally {
        underWay.delete(room)
      }
    },
  }
}

async function replace(
  needs: Needs,
  who: Requester,
  room: RoomId,
  request: UpgradeRequest,
): Promise<RoomId> {
  const { events, serverName } = needs
  const { user } = who
  if (who.guest) throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests make no rooms')
  const rules = requireRoomVersion(request.version)
  const oldRules = await requireMayReplace(needs, user, room)
  const inheritance: Inheritance = {
    ...{ oldRules, rules, user, serverName },
    state: await events.currentState(room),
    profile: await profileFields(needs, user),
    additionalCreators: rules.privilegedCreators ? creatorsIn(request, user) : [],
  }
  const { drafts, stepDown } = carriedDrafts(inheritance)
  const next = await makeBoth(needs, room, inheritance, drafts.slice(0, firstDraftsMax))
  for (const draft of drafts.slice(firstDraftsMax)) await attempt(needs, next, draft)
  // In a write of its own: a write sets each entry of the state once.
  if (stepDown !== undefined) await attempt(needs, next, stepDown)
  await needs.moveNames(room, next)
  await unname(needs, room, inheritance)
  await relink(needs, user, room, next)
  await silence(needs, user, room)
  return next
}

/** Answers the rules of the old room. */
async function requireMayReplace(
  { events, memberships }: Needs,
  user: UserId,
  room: RoomId,
): Promise<RoomVersionRules> {
  if (!(await memberships.isJoined(user, room))) throw forbidden(`User ${user} not in room ${room}`)
  const rules = await events.rulesOf(room)
  if (rules === undefined) throw notFound('Room')
  const levels = await levelsOf(events, room, rules)
  if (userLevel(levels, user) >= levelToSend(levels, 'm.room.tombstone', true)) return rules
  throw forbidden("You don't have permission to upgrade the room")
}

/** The new room and the old one's tombstone, which name each other where the new room's id can be chosen before. */
async function makeBoth(
  { events, random, serverName }: Needs,
  old: RoomId,
  inheritance: Inheritance,
  drafts: readonly LocalDraft[],
): Promise<RoomId> {
  const { rules, user } = inheritance
  const { version } = rules
  const creation = carriedCreation(inheritance)
  const tombstone = (room: RoomId) => ({
    kind: 'append' as const,
    draft: stateDraft(user, 'm.room.tombstone', {
      body: 'This room has been replaced',
      replacement_room: room,
    }),
  })
  if (rules.createHashRoomId) {
    const content = { ...creation, predecessor: { room_id: old } }
    const { room } = await events.createRoom({ version, sender: user, content }, () => drafts)
    await events.append(old, () => tombstone(room))
    return room
  }
  const room = parseRoomId(`!${random.text(roomIdLength)}:${serverName}`)
  const last = await events.prepare(old, () => tombstone(room))
  const predecessor = { room_id: old, event_id: last.eventId }
  const content = { ...creation, predecessor }
  await events.createRoom({ version, sender: user, content, room }, () => drafts)
  await events.commitPrepared(last)
  return room
}

/** The old room does not name itself by what leads to the new one now. */
async function unname(needs: Needs, room: RoomId, { state, user, serverName }: Inheritance) {
  const named = [...state.values()].find(
    ({ pdu }) => pdu.type === 'm.room.canonical_alias' && pdu.stateKey === '',
  )
  if (named === undefined) return
  const { isAnyOurs, others } = splitAliases(named.pdu.content, serverName)
  if (isAnyOurs) await attempt(needs, room, stateDraft(user, 'm.room.canonical_alias', others))
}

/** In the user's spaces the new room takes the place of the old one. */
async function relink(needs: Needs, user: UserId, old: RoomId, next: RoomId): Promise<void> {
  const { events, memberships, serverName } = needs
  const rows = [...(await memberships.ofUser(user)).values()]
  const joined = rows.filter(({ membership, room }) => membership === 'join' && room !== old)
  for (const { room: space } of joined.slice(0, spacesMax)) {
    if (space === next) continue
    const link = (await events.currentEntry(space, 'm.space.child', old))?.pdu.content
    if (link === undefined || !Array.isArray(link['via'])) continue
    const child = stateDraft(user, 'm.space.child', { ...link, via: [serverName] }, next)
    const isLinked = await attempt(needs, space, child)
    if (isLinked) await attempt(needs, space, stateDraft(user, 'm.space.child', {}, old))
  }
}

/** {@link https://spec.matrix.org/v1.19/client-server-api/#room-upgrades} step 6 */
async function silence(needs: Needs, user: UserId, room: RoomId): Promise<void> {
  const { events } = needs
  const rules = await events.rulesOf(room)
  const current = await events.currentEntry(room, 'm.room.power_levels', '')
  if (rules === undefined || current === undefined) return
  const levels = await levelsOf(events, room, rules)
  const quiet = Math.max(quietLevel, levels.usersDefault + 1)
  const raised = filled({
    ...(levels.eventsDefault < quiet && { events_default: quiet }),
    ...(levelFor(levels, 'invite') < quiet && { invite: quiet }),
  })
  if (Object.keys(raised).length === 0) return
  const content = { ...current.pdu.content, ...raised }
  await attempt(needs, room, stateDraft(user, 'm.room.power_levels', content))
}

/** Sends what the user may send; the room is replaced also without it. */
async function attempt({ events }: Needs, room: RoomId, draft: LocalDraft): Promise<boolean> {
  try {
    await events.append(room, () => ({ kind: 'append', draft }))
    return true
  } catch (error) {
    if (error instanceof MatrixError) return false
    throw error
  }
}

async function levelsOf(events: Needs['events'], room: RoomId, rules: RoomVersionRules) {
  const create = await events.currentEntry(room, 'm.room.create', '')
  const powerLevels = await events.currentEntry(room, 'm.room.power_levels', '')
  return powerLevelsOf(rules, create?.pdu, powerLevels?.pdu)
}

async function profileFields({ profileOf }: Needs, user: UserId): Promise<JsonObject> {
  const { displayname, avatar_url } = await profileOf(user)
  return filled({ displayname, avatar_url })
}

function creatorsIn({ additionalCreators = [] }: UpgradeRequest, user: UserId): UserId[] {
  if (additionalCreators.length > additionalCreatorsMax) {
    throw invalidParam('additional_creators', `more than ${additionalCreatorsMax} users`)
  }
  return [...new Set(additionalCreators)].filter((creator) => creator !== user)
}

function stateDraft(sender: UserId, type: string, content: JsonObject, stateKey = ''): LocalDraft {
  return { type, stateKey, sender, content }
}
