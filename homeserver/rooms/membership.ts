/** Changes of memberships that our users ask for, in rooms that are here and in rooms of other servers. */
import { badJson, forbidden, notFound } from '../../spec/errors.ts'
import { type RoomId, serverOfUser, type UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import { type AllRooms, createAllRooms } from './all-rooms.ts'
import { type ChangeNeeds, type Core, createCore, filled } from './change-core.ts'
import { createEntering } from './entering.ts'
import type { Handshakes } from './handshakes.ts'
import { createLeaving } from './leaving.ts'
import { type MemberAction, type MemberChange, planMember } from './member-plan.ts'
import { membershipIn } from './membership-row.ts'
import type { Requester, Rooms } from './rooms.ts'

/** What the other parts of the slice use of it. */
export interface MembershipChanges
  extends Pick<Rooms, 'join' | 'knock' | 'leave' | 'invite' | 'kick' | 'ban' | 'unban' | 'forget'>,
    AllRooms {
  /** A member event as a client wrote it, by PUT of state. */
  put(who: Requester, room: RoomId, target: UserId, content: JsonObject): Promise<StoredEvent>
  leaveRoom(room: RoomId, user: UserId): Promise<void>
  /** An invite as it stands, of a user here or elsewhere. */
  inviteWith(room: RoomId, change: MemberChange): Promise<void>
  /** Carries a changed name or avatar into one room; nothing where the user is not in the room any more. */
  renew(room: RoomId, user: UserId, profile: JsonObject): Promise<void>
}

interface Needs extends ChangeNeeds {
  readonly handshakes: Handshakes
  readonly resolveAlias: Rooms['resolveAlias']
}

export function createMembershipChanges(needs: Needs): MembershipChanges {
  const core = createCore(needs)
  const { leave, forget } = createLeaving({ ...needs, core })
  const renew = createRenewing(needs)
  const leaveRoom = (room: RoomId, user: UserId) => leave(user, room, {})
  return {
    ...createEntering({ ...needs, core }),
    leave: (who, room, reason) => leave(who.user, room, filled({ reason })),
    leaveRoom,
    forget,
    ...createInviting(needs, core),
    kick: moderate(core, 'kick'),
    ban: moderate(core, 'ban'),
    unban: moderate(core, 'unban'),
    renew,
    ...createAllRooms({ ...needs, renew, leave: leaveRoom }),
  }
}

/** A change by one user to another, in a room that is here. */
function moderate(core: Core, action: MemberAction): Rooms['kick'] {
  return async ({ user: sender }, room, target, reason) => {
    await core.requireHere(sender, room)
    await core.apply(room, { action, sender, target, content: filled({ reason }) })
  }
}

function createInviting(
  needs: Needs,
  core: Core,
): Pick<MembershipChanges, 'invite' | 'inviteWith' | 'put'> {
  const { events, handshakes } = needs

  /** An invite that the user's server signs as well. */
  async function inviteElsewhere(room: RoomId, change: MemberChange): Promise<void> {
    let isKnown = false
    const pdu = await events.prepare(room, async (view) => {
      const plan = await planMember(needs, view, change)
      isKnown = plan.kind === 'stay'
      return plan
    })
    if (isKnown) return
    const rules = await events.rulesOf(room)
    if (rules === undefined) throw notFound('Room')
    const server = serverOfUser(change.target)
    await events.commitPrepared(await handshakes.invite(pdu, rules, server, change.sender))
  }

  async function inviteWith(room: RoomId, change: MemberChange): Promise<void> {
    if (core.isLocal(change.target)) await core.apply(room, change)
    else await inviteElsewhere(room, change)
  }

  return {
    inviteWith,
    async invite({ user: sender }, room, target, { reason, isDirect }) {
      await core.requireHere(sender, room)
      const content = {
        ...(await core.profile(target)),
        ...filled({ reason }),
        ...(isDirect === true && { is_direct: true }),
      }
      await inviteWith(room, { action: 'invite', sender, target, content })
    },
    async put({ user: sender, guest }, room, target, content) {
      const membership = membershipIn(content)
      if (membership === undefined) throw badJson('membership', 'not a membership')
      await core.requireHere(sender, room)
      const isFilled = membership === 'join' || membership === 'invite'
      const whole = { ...(isFilled ? await core.profile(target) : {}), ...content }
      const change = { action: membership, sender, target, content: whole, isGuest: guest }
      if (membership !== 'invite' || core.isLocal(target)) return await core.apply(room, change)
      await inviteElsewhere(room, change)
      const event = await events.currentEntry(room, 'm.room.member', target)
      if (event === undefined) throw notFound('Event')
      return event
    },
  }
}

/** Has the user's member event of one room say the profile's name and avatar. */
function createRenewing(needs: Needs): MembershipChanges['renew'] {
  return async (room, user, profile) => {
    await needs.events.append(room, async (view) => {
      const before = await view.state('m.room.member', user)
      if (before === undefined) throw forbidden('not in the room')
      if (membershipIn(before.pdu.content) !== 'join') return { kind: 'stay', event: before }
      const { displayname: _, avatar_url: __, ...kept } = before.pdu.content
      const content = { ...kept, ...profile }
      return await planMember(needs, view, { action: 'join', sender: user, target: user, content })
    })
  }
}
