/** Changes of memberships that our users ask for, in rooms that are here and in rooms of other servers. */
import { badJson, forbidden, MatrixError, notFound } from '../../spec/errors.ts'
import { type RoomId, serverOfUser, type UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import { type ChangeNeeds, type Core, createCore, filled } from './change-core.ts'
import { createEntering } from './entering.ts'
import type { Handshakes } from './handshakes.ts'
import { createLeaving } from './leaving.ts'
import { type MemberAction, type MemberChange, planMember } from './member-plan.ts'
import { membershipIn } from './membership-row.ts'
import type { Requester, Rooms } from './rooms.ts'

/** What the other parts of the slice use of it. */
export interface MembershipChanges
  extends Pick<Rooms, 'join' | 'knock' | 'leave' | 'invite' | 'kick' | 'ban' | 'unban' | 'forget'> {
  /** A member event as a client wrote it, by PUT of state. */
  put(who: Requester, room: RoomId, target: UserId, content: JsonObject): Promise<StoredEvent>
  /** Carries a changed name or avatar into the rooms that the user is in. */
  propagateProfile(user: UserId, profile: JsonObject): Promise<void>
  /** Leaves every room and rejects every invite; may be called again. */
  leaveAll(user: UserId): Promise<void>
}

interface Needs extends ChangeNeeds {
  readonly handshakes: Handshakes
  readonly resolveAlias: Rooms['resolveAlias']
}

export function createMembershipChanges(needs: Needs): MembershipChanges {
  const core = createCore(needs)
  const { leave, forget } = createLeaving({ ...needs, core })
  return {
    ...createEntering({ ...needs, core }),
    leave: (who, room, reason) => leave(who.user, room, filled({ reason })),
    forget,
    ...createInviting(needs, core),
    kick: moderate(core, 'kick'),
    ban: moderate(core, 'ban'),
    unban: moderate(core, 'unban'),
    ...aboutAllRooms(needs, leave),
  }
}

/** A change by one user to another, in a room that is here. */
function moderate(core: Core, action: MemberAction): Rooms['kick'] {
  return async ({ user: sender }, room, target, reason) => {
    await core.requireHere(sender, room)
    await core.apply(room, { action, sender, target, content: filled({ reason }) })
  }
}

function createInviting(needs: Needs, core: Core): Pick<MembershipChanges, 'invite' | 'put'> {
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

  return {
    async invite({ user: sender }, room, target, { reason, isDirect }) {
      await core.requireHere(sender, room)
      const content = {
        ...(await core.profile(target)),
        ...filled({ reason }),
        ...(isDirect === true && { is_direct: true }),
      }
      const change: MemberChange = { action: 'invite', sender, target, content }
      if (core.isLocal(target)) await core.apply(room, change)
      else await inviteElsewhere(room, change)
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

/** Rooms that are changed at a time. */
const concurrent = 10

function aboutAllRooms(
  needs: Needs,
  leave: (user: UserId, room: RoomId, content: JsonObject) => Promise<void>,
): Pick<MembershipChanges, 'propagateProfile' | 'leaveAll'> {
  const { events, memberships } = needs

  async function renew(room: RoomId, user: UserId, profile: JsonObject): Promise<void> {
    await events.append(room, async (view) => {
      const before = await view.state('m.room.member', user)
      if (before === undefined) throw forbidden('not in the room')
      if (membershipIn(before.pdu.content) !== 'join') return { kind: 'stay', event: before }
      const { displayname: _, avatar_url: __, ...kept } = before.pdu.content
      const content = { ...kept, ...profile }
      return await planMember(needs, view, { action: 'join', sender: user, target: user, content })
    })
  }

  return {
    async propagateProfile(user, { displayname, avatar_url }) {
      const fields = filled({ displayname, avatar_url })
      const rows = [...(await memberships.ofUser(user)).values()]
      const rooms = rows.filter(({ membership }) => membership === 'join')
      // A room that does not take it keeps the old name; the profile itself has changed.
      await inTurns(
        rooms,
        ({ room }) => renew(room, user, fields),
        () => {},
      )
    },
    async leaveAll(user) {
      const rows = [...(await memberships.ofUser(user)).values()]
      const open = rows.filter(({ membership }) => membership !== 'leave' && membership !== 'ban')
      let failure: unknown
      await inTurns(
        open,
        ({ room }) => leave(user, room, {}),
        (error) => {
          // What is forbidden stays so; the rest may succeed the next time.
          if (!(error instanceof MatrixError) || error.status >= 429) failure = error
        },
      )
      if (failure !== undefined) throw failure
    },
  }
}

async function inTurns<T>(
  list: readonly T[],
  work: (one: T) => Promise<void>,
  onError: (error: unknown) => void,
): Promise<void> {
  for (let at = 0; at < list.length; at += concurrent) {
    await Promise.all(list.slice(at, at + concurrent).map((one) => work(one).catch(onError)))
  }
}
