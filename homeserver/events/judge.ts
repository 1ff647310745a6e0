import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import { type AuthVerdict, authorize } from '../../spec/room/authorize.ts'
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
