/**
 * The resident's side of the handshakes by which users of other servers join, leave and knock on rooms that are here,
 * and the invited side of an invite for one of ours.
 */
import type { SigningKey } from '../../spec/crypto/ed25519.ts'
import { forbidden, invalidParam, MatrixError, notFound } from '../../spec/errors.ts'
import type { Pdu } from '../../spec/events/event.ts'
import {
  type EventId,
  isUserId,
  type RoomId,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { countersignPdu, parsePdu } from '../../spec/room/event-format.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Db } from '../database/database.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { KeyRing } from '../ports.ts'
import type { LogWriter } from '../stream/log.ts'
import { type Joined, joinAnswer } from './join-answer.ts'
import { type MemberAction, planMember } from './member-plan.ts'
import { storeOutOfBand } from './out-of-band.ts'
import { type ReceivedInvite, requireInvite } from './received-invite.ts'
import { receiveRemoval } from './received-removal.ts'
import { authoriserOf } from './restricted-join.ts'
import type { Memberships } from './rooms.ts'
import { shownState, strippedFrom } from './shown-state.ts'
import { type InvitePermissionOf, requireWanted } from './wanted-invites.ts'

export type { Joined } from './join-answer.ts'
export type { ReceivedInvite } from './received-invite.ts'

/** What another server may ask of us for its users; each throws MatrixError. */
export interface RemoteMembership {
  makeJoin(
    origin: ServerName,
    room: RoomId,
    user: UserId,
    versions: readonly string[],
  ): Promise<Template>
  /** `omitMembers`: the other server does without the state's member events, but for those that name the room. */
  sendJoin(
    origin: ServerName,
    room: RoomId,
    event: JsonObject,
    omitMembers?: boolean,
  ): Promise<Joined>
  makeLeave(origin: ServerName, room: RoomId, user: UserId): Promise<Template>
  sendLeave(origin: ServerName, room: RoomId, event: JsonObject): Promise<void>
  makeKnock(
    origin: ServerName,
    room: RoomId,
    user: UserId,
    versions: readonly string[],
  ): Promise<Template>
  /** Answers the room's stripped state as full events. */
  sendKnock(origin: ServerName, room: RoomId, event: JsonObject): Promise<readonly JsonObject[]>
  /** Answers the event with our signature. */
  receiveInvite(origin: ServerName, invite: ReceivedInvite): Promise<JsonObject>
  /**
   * A member event of a room that is not here. Answers its id when it takes back an invite of one of our users,
   * undefined when it is nothing to us.
   */
  receiveRemoval(origin: ServerName, room: RoomId, event: JsonObject): Promise<EventId | undefined>
}

export interface Template {
  readonly room_version: string
  readonly event: JsonObject
}

export interface RemoteMembershipNeeds {
  readonly serverName: ServerName
  readonly key: SigningKey
  readonly keys: KeyRing
  readonly db: Db
  readonly log: Pick<LogWriter, 'write'>
  readonly events: Events
  readonly memberships: Memberships
  /** Everybody lets themselves be invited when absent. */
  readonly invitePermission?: InvitePermissionOf
}

export function createRemoteMembership(needs: RemoteMembershipNeeds): RemoteMembership {
  const { serverName, key, events } = needs

  return {
    async makeJoin(_origin, room, user, versions) {
      await requireVersion(needs, room, versions)
      return await template(needs, room, user, 'join')
    },
    async sendJoin(origin, room, event, omitMembers = false) {
      const join = await take(needs, origin, room, event, 'join')
      return await joinAnswer(needs, join, omitMembers)
    },
    makeLeave: (_origin, room, user) => template(needs, room, user, 'leave'),
    async sendLeave(origin, room, event) {
      await take(needs, origin, room, event, 'leave')
    },
    async makeKnock(_origin, room, user, versions) {
      await requireVersion(needs, room, versions)
      return await template(needs, room, user, 'knock')
    },
    async sendKnock(origin, room, event) {
      await take(needs, origin, room, event, 'knock')
      return (await shownState(events, room)).map(({ pdu }) => pdu.json)
    },
    async receiveInvite(origin, invite) {
      const { room, inviteRoomState } = invite
      const { pdu, rules, user } = await requireInvite(needs, origin, invite)
      await requireWanted(needs.invitePermission, { sender: pdu.sender, target: user })
      const signed = countersignPdu(pdu, rules, serverName, key)
      // In a room that is here the invite comes with the room's other events.
      if (!(await events.serversIn(room)).has(serverName)) {
        const row = (await needs.memberships.ofUser(user)).get(room)
        if (row?.membership === 'join') throw forbidden('The user is in the room')
        await storeOutOfBand(needs, signed, rules, strippedFrom(inviteRoomState))
      }
      return signed.json
    },
    receiveRemoval: (origin, room, event) => receiveRemoval(needs, origin, room, event),
  }
}

/** Rules of a room that this server is in. */
async function requireHere(
  { events, serverName }: RemoteMembershipNeeds,
  room: RoomId,
): Promise<RoomVersionRules> {
  const rules = await events.rulesOf(room)
  const isHere = rules !== undefined && (await events.serversIn(room)).has(serverName)
  if (!isHere) throw notFound('Room')
  return rules
}

/** Who comes in or knocks is for those to decide who know all members. */
async function requireWhole({ events }: RemoteMembershipNeeds, room: RoomId): Promise<void> {
  if (await events.partial.isPartial(room)) throw notFound('Room')
}

/** An event for the other server to sign, as it would be accepted now. */
async function template(
  needs: RemoteMembershipNeeds,
  room: RoomId,
  user: UserId,
  action: MemberAction,
): Promise<Template> {
  const rules = await requireHere(needs, room)
  if (action !== 'leave') await requireWhole(needs, room)
  const pdu = await needs.events.prepare(room, (view) =>
    planMember(needs, view, { action, sender: user, target: user, content: {} }),
  )
  const { hashes: _, signatures: __, event_id: ___, origin: ____, ...event } = pdu.json
  return { room_version: rules.version, event }
}

async function requireVersion(
  needs: RemoteMembershipNeeds,
  room: RoomId,
  versions: readonly string[],
): Promise<void> {
  const { version } = await requireHere(needs, room)
  if (versions.includes(version)) return
  throw new MatrixError(
    'M_INCOMPATIBLE_ROOM_VERSION',
    'Your homeserver does not support the features required to interact with this room',
    { fields: { room_version: version } },
  )
}

/** Takes a member event of the other server's own user, which we send on to the room. */
async function take(
  needs: RemoteMembershipNeeds,
  origin: ServerName,
  room: RoomId,
  event: JsonObject,
  membership: 'join' | 'leave' | 'knock',
): Promise<StoredEvent> {
  const rules = await requireHere(needs, room)
  if (membership !== 'leave') await requireWhole(needs, room)
  const given = parsePdu(event, rules)
  requireOwn(origin, room, given, membership)
  const pdu = await vouchedFor(needs, given, rules)
  const options = { onBehalfOf: origin }
  const receipts = await needs.events.receive(origin, room, [pdu.json], options)
  const receipt = receipts.get(pdu.eventId)
  if (receipt?.kind !== 'accepted' && receipt?.kind !== 'known') {
    throw forbidden(receipt?.reason ?? 'the event was not accepted')
  }
  return await requireStored(needs, pdu.eventId)
}

/** A restricted join that one of our members vouches for gets our signature, if it is still right. */
async function vouchedFor(
  needs: RemoteMembershipNeeds,
  pdu: Pdu,
  rules: RoomVersionRules,
): Promise<Pdu> {
  const { serverName, key, events } = needs
  const authoriser = pdu.content['join_authorised_via_users_server']
  const isOurs = isUserId(authoriser) && serverOfUser(authoriser) === serverName
  if (!rules.restrictedJoin || !isOurs || pdu.content['membership'] !== 'join') return pdu
  await events.prepare(pdu.roomId, async (view) => {
    await authoriserOf(needs, view, pdu.sender)
    return await planMember(needs, view, {
      ...{ action: 'join', sender: pdu.sender, target: pdu.sender, content: {} },
    })
  })
  return countersignPdu(pdu, rules, serverName, key)
}

async function requireStored({ events }: RemoteMembershipNeeds, id: EventId): Promise<StoredEvent> {
  const event = (await events.get([id])).get(id)
  if (event === undefined) throw new MatrixError('M_UNKNOWN', 'the event was not stored')
  if (event.rejected !== undefined) throw forbidden(event.rejected)
  return event
}

function requireOwn(
  origin: ServerName,
  room: RoomId,
  { type, sender, stateKey, roomId, content }: Pdu,
  membership: string,
): void {
  if (type !== 'm.room.member') throw invalidParam('type', 'not a membership')
  if (roomId !== room) throw invalidParam('room_id', 'another room')
  if (sender !== stateKey) throw invalidParam('state_key', 'not the sender')
  if (content['membership'] !== membership) throw invalidParam('membership', `not ${membership}`)
  if (serverOfUser(sender) !== origin) throw forbidden('the user is of another server')
}
