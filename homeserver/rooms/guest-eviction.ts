/** Guests leave a room that stops letting guests in. {@link https://spec.matrix.org/v1.19/client-server-api/#guest-access} */
import type { RoomId } from '../../spec/ids.ts'
import type { Events } from '../events/events.ts'
import type { Logger } from '../platform/log.ts'
import type { Tail } from '../stream/log.ts'
import type { MembershipChanges } from './membership.ts'
import { isEventPayload } from './memberships.ts'
import type { Memberships } from './rooms.ts'

/** In a guest's join: what tells later that they came as one. */
export const guestMark = { kind: 'guest' } as const

interface Needs {
  readonly tail: Pick<Tail, 'subscribe'>
  readonly events: Pick<Events, 'currentEntry'>
  readonly memberships: Pick<Memberships, 'localJoined'>
  readonly changes: Pick<MembershipChanges, 'leaveRoom'>
  readonly logger?: Logger
}

/** Watches rooms; before the tail starts. Several processes may do the same: leaving twice is leaving once. */
export function evictGuests({ tail, events, memberships, changes, logger }: Needs): void {
  async function evict(room: RoomId): Promise<void> {
    for (const user of await memberships.localJoined(room)) {
      const member = await events.currentEntry(room, 'm.room.member', user)
      if (member?.pdu.content['kind'] === guestMark.kind) await changes.leaveRoom(room, user)
    }
  }

  tail.subscribe('guests', (rows) => {
    for (const { kind, payload } of rows) {
      if (kind !== 'event' || !isEventPayload(payload) || !payload.changesState) continue
      const { type, content, roomId } = payload.event.pdu
      if (type !== 'm.room.guest_access' || content['guest_access'] === 'can_join') continue
      void evict(roomId).catch((error) => logger?.warn({ room: roomId, error }, 'guests stay'))
    }
  })
}
