import type { Pdu } from '../../spec/events/event.ts'
import { serverOfUser } from '../../spec/ids.ts'
import { levelFor, powerLevelsOf, userLevel } from '../../spec/room/power-levels.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'

/**
 * May the sender of a redaction redact its target, by a state.
 * {@link https://spec.matrix.org/v1.19/rooms/v11/#handling-redactions}
 */
export function mayRedact(
  rules: RoomVersionRules,
  redaction: Pdu,
  target: Pdu,
  state: { readonly create: Pdu | undefined; readonly powerLevels: Pdu | undefined },
): boolean {
  if (target.roomId !== redaction.roomId || target.type === 'm.room.create') return false
  // v3+: a redaction counts when its target is of the same server, or its sender may redact.
  if (serverOfUser(target.sender) === serverOfUser(redaction.sender)) return true
  const levels = powerLevelsOf(rules, state.create, state.powerLevels)
  return userLevel(levels, redaction.sender) >= levelFor(levels, 'redact')
}
