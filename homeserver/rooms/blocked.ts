/** Keeps the users of this server out of rooms that an administrator has blocked. */
import { forbidden } from '../../spec/errors.ts'
import { isRoomId, type RoomId } from '../../spec/ids.ts'
import type { Purges } from '../events/purges.ts'
import type { RemoteMembership } from './remote-membership.ts'
import type { Rooms } from './rooms.ts'

type Blocks = Pick<Purges, 'isBlocked'>

async function requireOpen(blocks: Blocks, room: RoomId): Promise<void> {
  if (await blocks.isBlocked(room)) throw forbidden('This room has been blocked on this server')
}

/** The same rooms, of which blocked ones can be entered by administrators alone. */
export function refuseBlocked<R extends Pick<Rooms, 'join' | 'knock' | 'resolveAlias'>>(
  rooms: R,
  blocks: Blocks,
): R {
  return {
    ...rooms,
    async join(who, target, options) {
      const room = isRoomId(target) ? target : (await rooms.resolveAlias(target)).room
      if (!who.admin) await requireOpen(blocks, room)
      return await rooms.join(who, target, options)
    },
    async knock(who, target, options) {
      const room = isRoomId(target) ? target : (await rooms.resolveAlias(target)).room
      if (!who.admin) await requireOpen(blocks, room)
      return await rooms.knock(who, target, options)
    },
  }
}

/** The same for invites of other servers. */
export function refuseBlockedInvites<M extends Pick<RemoteMembership, 'receiveInvite'>>(
  membership: M,
  blocks: Blocks,
): M {
  return {
    ...membership,
    async receiveInvite(origin, invite) {
      await requireOpen(blocks, invite.room)
      return await membership.receiveInvite(origin, invite)
    },
  }
}
