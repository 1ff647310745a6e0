import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import { type EventId, idBytesMax, isWithin } from '../../spec/ids.ts'
import { type AuthVerdict, authorize, checkAuthEvents } from '../../spec/room/authorize.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { StoredEvent } from './stored-event.ts'

/** The auth rules over a state by key; the create event is the room's own. */
export function judge(
  pdu: Pdu,
  rules: RoomVersionRules,
  state: ReadonlyMap<StateKey, Pdu>,
  create: StoredEvent | undefined,
): AuthVerdict {
  return authorize(pdu, rules, (type, key) =>
    type === 'm.room.create' && rules.createHashRoomId
      ? create?.pdu
      : state.get(stateKeyOf(type, key)),
  )
}

/**
 * Why an event is refused by its own auth events, which must be among `events`, or by its sizes; undefined when they
 * allow it.
 */
export function refusalByOwn(
  pdu: Pdu,
  rules: RoomVersionRules,
  events: ReadonlyMap<EventId, StoredEvent>,
  create: StoredEvent | undefined,
): string | undefined {
  // In the versions that count code points, what is over in bytes is kept for what follows it, and has no effect.
  if (!isWithin(pdu.type, idBytesMax) || !isWithin(pdu.stateKey ?? '', idBytesMax))
    return `type and state key must be at most ${idBytesMax} bytes`
  const own = pdu.authEvents.flatMap((id) => events.get(id)?.pdu ?? [])
  const listed = checkAuthEvents(pdu, rules, own, (id) => events.get(id)?.rejected !== undefined)
  if (listed.kind === 'reject') return listed.reason
  const state = new Map<StateKey, Pdu>(
    own.map((event) => [stateKeyOf(event.type, event.stateKey ?? ''), event]),
  )
  const verdict = judge(pdu, rules, state, create)
  return verdict.kind === 'reject' ? verdict.reason : undefined
}

/** Memberships that accepted events among these give, by key. */
export function membersAmong(events: Iterable<StoredEvent>): Map<StateKey, Pdu> {
  const members = new Map<StateKey, Pdu>()
  for (const { pdu, rejected } of events) {
    if (pdu.type !== 'm.room.member' || pdu.stateKey === undefined) continue
    if (rejected === undefined) members.set(stateKeyOf(pdu.type, pdu.stateKey), pdu)
  }
  return members
}
