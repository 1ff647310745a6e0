/** The row of `memberships` that a member event makes: written by the event's own log write. */
import { type JsonObject, stringAt } from '../../spec/json.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { Membership, MembershipRow } from './rooms.ts'

/** The row for `log_apply_memberships`; the log gives it its position. */
export function membershipRowOf({ pdu, nr }: Pick<StoredEvent, 'pdu' | 'nr'>): JsonObject {
  const displayName = nameIn(pdu.content, 'displayname')
  const avatarUrl = nameIn(pdu.content, 'avatar_url')
  return {
    room_id: pdu.roomId,
    user_id: pdu.stateKey ?? '',
    membership: stringAt(pdu.content, 'membership') ?? 'leave',
    event_id: pdu.eventId,
    event_nr: nr,
    sender: pdu.sender,
    ...(displayName !== undefined && { display_name: displayName }),
    ...(avatarUrl !== undefined && { avatar_url: avatarUrl }),
  }
}

/** A name or an address of a profile as it can be kept as text: other servers may send anything. */
export function nameIn(content: JsonObject, key: 'displayname' | 'avatar_url'): string | undefined {
  return stringAt(content, key)?.replace(/[\0\p{Surrogate}]/gu, '')
}

/** What is kept in memory of a member event that was just committed; `before` is the user's row until then. */
export function nextRow(
  { pdu }: Pick<StoredEvent, 'pdu'>,
  user: MembershipRow['user'],
  position: number,
  before: MembershipRow | undefined,
): MembershipRow {
  const membership = membershipIn(pdu.content) ?? 'leave'
  const displayName = nameIn(pdu.content, 'displayname')
  const avatarUrl = nameIn(pdu.content, 'avatar_url')
  return {
    room: pdu.roomId,
    user,
    membership,
    eventId: pdu.eventId,
    sender: pdu.sender,
    since: before?.membership === membership ? before.since : position,
    position,
    ...(displayName !== undefined && { displayName }),
    ...(avatarUrl !== undefined && { avatarUrl }),
    forgotten: false,
  }
}

/** The membership in a member event's content; undefined for anything that is none. */
export function membershipIn(content: JsonObject): Membership | undefined {
  const membership = content['membership']
  return isMembership(membership) ? membership : undefined
}

export function isMembership(value: unknown): value is Membership {
  return (
    value === 'join' ||
    value === 'leave' ||
    value === 'invite' ||
    value === 'ban' ||
    value === 'knock'
  )
}
