/** Leaving rooms, refusing invites and taking back knocks; forgetting what was left. */
import { forbidden, MatrixError, notFound } from '../../spec/errors.ts'
import { isUserId, type RoomId, serverOfUser, type UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { finishPdu } from '../../spec/room/event-format.ts'
import { writeDone } from '../stream/settled.ts'
import { type ChangeNeeds, type Core, candidatesFor, filled } from './change-core.ts'
import type { Entry, Handshakes, Made } from './handshakes.ts'
import { readStrippedState } from './invite-state.ts'
import { forgottenRef } from './memberships.ts'
import { storeOutOfBand } from './out-of-band.ts'
import type { MembershipRow, Rooms } from './rooms.ts'

interface Needs extends ChangeNeeds {
  readonly core: Core
  readonly handshakes: Handshakes
}

export interface Leaving extends Pick<Rooms, 'forget'> {
  /** `content` beside the membership. */
  leave(user: UserId, room: RoomId, content: JsonObject): Promise<void>
}

export function createLeaving(needs: Needs): Leaving {
  const { serverName, db, log, events, handshakes, core } = needs

  /** Ends an invite or a knock in a room of other servers; when none of them answers, here alone. */
  async function leaveElsewhere(row: MembershipRow, content: JsonObject): Promise<void> {
    const { room, user } = row
    const seen = await readStrippedState(db, room, user)
    const senders = seen.flatMap(({ sender }) => (isUserId(sender) ? [serverOfUser(sender)] : []))
    const named = [serverOfUser(row.sender), ...senders]
    const place = { room, ...candidatesFor(row, room, named) }
    const entry: Entry = { ...place, user, membership: 'leave', content }
    const made = await handshakes.leave(entry).catch((error) => {
      if (!(error instanceof MatrixError)) throw error
      return leaveAlone(row, content)
    })
    await storeOutOfBand(needs, made.pdu, made.rules)
  }

  /** A leave that no other server sees, in the place of the event that it ends. */
  async function leaveAlone(
    { room, user, eventId }: MembershipRow,
    given: JsonObject,
  ): Promise<Made> {
    const rules = await events.rulesOf(room)
    const before = (await events.get([eventId])).get(eventId)?.pdu
    if (rules === undefined || before === undefined) throw notFound('Room')
    const { event_id: _, origin: __, ...members } = before.json
    const isOpaque = rules.eventIdFormat === 'opaque'
    const draft = {
      ...members,
      ...(isOpaque && { event_id: `$left-${eventId.slice(1).split(':')[0]}:${serverName}` }),
      ...(isOpaque && { origin: serverName }),
      content: { ...given, membership: 'leave' },
      depth: before.depth + 1,
      origin_server_ts: needs.clock.now(),
      sender: user,
    }
    return { rules, pdu: finishPdu(draft, rules, serverName, needs.key) }
  }

  return {
    async leave(user, room, content) {
      const row = await core.rowOf(user, room)
      if (await core.isHere(room)) {
        await core.apply(room, { action: 'leave', sender: user, target: user, content })
        return
      }
      if (row === undefined) throw notFound('Room')
      if (row.membership === 'ban') throw forbidden('You are banned from this room')
      if (row.membership !== 'leave') await leaveElsewhere(row, content)
    },
    async forget({ user }, room) {
      const row = await core.rowOf(user, room)
      if (row === undefined || row.forgotten) return
      if (row.membership !== 'leave' && row.membership !== 'ban') {
        throw new MatrixError('M_UNKNOWN', `User ${user} in room ${room}`, { status: 400 })
      }
      await writeDone(log, {
        entries: [
          {
            ...{ kind: 'invalidate', room, user, ref: forgottenRef, payload: undefined },
            tables: { forgotten: [filled({ room_id: room, user_id: user })] },
          },
        ],
      })
    },
  }
}
