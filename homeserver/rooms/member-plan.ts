/** What a change of a membership comes to in the room's turn: the event to append, or that it says nothing new. */
import { canonicalJson } from '../../spec/canonical-json.ts'
import { forbidden, MatrixError } from '../../spec/errors.ts'
import { serverOfUser, type UserId } from '../../spec/ids.ts'
import type { Json, JsonObject } from '../../spec/json.ts'
import type { TurnPlan, TurnView } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import { membershipIn } from './membership-row.ts'
import { authoriserOf, type RestrictedNeeds } from './restricted-join.ts'
import type { Membership } from './rooms.ts'

/** What is asked for; a kick and an unban are both a leave that another sends. */
export type MemberAction = 'join' | 'knock' | 'leave' | 'invite' | 'kick' | 'ban' | 'unban'

export interface MemberChange {
  readonly action: MemberAction
  readonly sender: UserId
  readonly target: UserId
  /** Content beside the membership. */
  readonly content: JsonObject
  readonly isGuest?: boolean
  /** A join of somebody who is in the room already says nothing new, whatever its content. */
  readonly isIdempotent?: boolean
}

const memberType = 'm.room.member'

/** @throws MatrixError M_FORBIDDEN, M_BAD_STATE, M_GUEST_ACCESS_FORBIDDEN and what restricted joins throw */
export async function planMember(
  needs: RestrictedNeeds,
  view: TurnView,
  change: MemberChange,
): Promise<TurnPlan> {
  const { action, sender, target } = change
  const before = await view.state(memberType, target)
  const was = before && membershipIn(before.pdu.content)
  if (before !== undefined && change.isIdempotent && was === membershipOf(action)) {
    return { kind: 'stay', event: before }
  }
  requirePossible(change, was)
  if (action === 'join') await requireGuestsMayJoin(view, change)
  if (action === 'invite') await requireFederation(view, target)
  const authoriser = action === 'join' ? await authoriserOf(needs, view, target) : undefined
  const content: JsonObject = {
    ...ownContent(change.content),
    membership: membershipOf(action),
    ...(authoriser !== undefined && { join_authorised_via_users_server: authoriser }),
  }
  if (before !== undefined && isSame(before, sender, content))
    return { kind: 'stay', event: before }
  return { kind: 'append', draft: { type: memberType, stateKey: target, sender, content } }
}

/** The membership that an action leads to. */
export function membershipOf(action: MemberAction): Membership {
  return action === 'kick' || action === 'unban' ? 'leave' : action
}

/** Does the event say exactly this, by the same sender. */
export function isSame({ pdu }: StoredEvent, sender: UserId, content: JsonObject): boolean {
  return pdu.sender === sender && canonicalJson(pdu.content) === canonicalJson(content)
}

function requirePossible({ action, target }: MemberChange, was: Membership | undefined): void {
  switch (action) {
    case 'unban':
      if (was === 'ban') return
      throw badState(`Cannot unban user who was not banned (membership=${was ?? 'none'})`)
    case 'kick':
      if (was === 'ban') throw badState('Cannot kick user who was banned')
      if (was === undefined || was === 'leave')
        throw forbidden('The target user is not in the room')
      return
    case 'invite':
      if (was === 'ban') throw forbidden(`${target} is banned from the room`)
      if (was === 'join') throw forbidden(`${target} is already in the room.`)
      return
    case 'join':
      if (was === 'ban') throw forbidden('You are banned from this room')
      return
    case 'ban':
    case 'leave':
    case 'knock':
      return
    default:
      action satisfies never
  }
}

async function requireGuestsMayJoin(view: TurnView, { isGuest }: MemberChange): Promise<void> {
  if (isGuest !== true) return
  const access = (await view.state('m.room.guest_access', ''))?.pdu.content['guest_access']
  if (access !== 'can_join') {
    throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guest access not allowed')
  }
}

/** The auth rules would let a user of another server be invited where nobody of that server can come in. */
async function requireFederation(view: TurnView, target: UserId): Promise<void> {
  const create = (await view.state('m.room.create', ''))?.pdu
  if (create?.content['m.federate'] !== false) return
  if (serverOfUser(create.sender) === serverOfUser(target)) return
  throw forbidden('This room is closed to users of other servers')
}

/** What a client may put into a member event: who vouches for a join is not the client's to say. */
function ownContent(content: JsonObject): JsonObject {
  const { join_authorised_via_users_server: _, membership: __, ...own } = content
  const kept: Record<string, Json> = {}
  for (const [key, value] of Object.entries(own)) if (value !== undefined) kept[key] = value
  return kept
}

function badState(reason: string): MatrixError {
  return new MatrixError('M_BAD_STATE', reason, { status: 403 })
}
