/** Memberships of our users in rooms that this server is not in: invites, knocks, and what ends them. */
import { MatrixError } from '../../spec/errors.ts'
import type { Pdu } from '../../spec/events/event.ts'
import { isUserId } from '../../spec/ids.ts'
import { type JsonObject, stringAt } from '../../spec/json.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { LogWriter } from '../stream/log.ts'
import { writeDone } from '../stream/settled.ts'
import { membershipRowOf } from './membership-row.ts'

interface Needs {
  readonly events: Pick<Events, 'outlier'>
  readonly log: Pick<LogWriter, 'write'>
}

/** Stores a member event outside of any history and makes it the user's membership. */
export async function storeOutOfBand(
  { events, log }: Needs,
  pdu: Pdu,
  rules: RoomVersionRules,
  stripped?: readonly JsonObject[],
): Promise<StoredEvent> {
  const user = pdu.stateKey
  if (!isUserId(user)) throw new MatrixError('M_BAD_JSON', 'state_key: not a user id')
  const { event, tables } = await events.outlier(pdu, rules)
  const row = { room_id: pdu.roomId, user_id: user, state: JSON.stringify(stripped ?? []) }
  await writeDone(log, {
    entries: [
      {
        kind: 'outOfBandMembership',
        room: pdu.roomId,
        user,
        ref: stringAt(pdu.content, 'membership') ?? 'leave',
        payload: { event },
        tables: { memberships: [membershipRowOf(event)] },
      },
    ],
    // Not beside the entry: an outlier has no position.
    tables: { ...tables, ...(stripped && { stripped_states: [row] }) },
  })
  return event
}
