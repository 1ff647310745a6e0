/** Tells other servers who of ours is typing and who is online. */

import type { Clock } from '../homeserver/platform/clock.ts'
import type { Logger } from '../homeserver/platform/log.ts'
import type { Presence, PresenceChange } from '../homeserver/presence/presence.ts'
import type { Typing } from '../homeserver/receipts/typing.ts'
import type { Memberships } from '../homeserver/rooms/rooms.ts'
import { type ServerName, serverOfUser, type UserId } from '../spec/ids.ts'
import type { JsonObject } from '../spec/json.ts'
import type { Sender } from './sender.ts'

interface Needs {
  readonly serverName: ServerName
  readonly sender: Pick<Sender, 'sendToRoom' | 'sendTo'>
  readonly typing: Pick<Typing, 'onTyping'>
  readonly presence: Pick<Presence, 'onChange'>
  readonly memberships: Pick<Memberships, 'sharingWith'>
  readonly clock: Clock
  readonly log: Logger
}

/** Starts; every process hears of every change, and sends to the destinations that it owns. */
export function tellEphemeral(needs: Needs): Disposable {
  const { sender, serverName } = needs
  const subscriptions = [
    needs.typing.onTyping(({ room, user, typing }) => {
      if (serverOfUser(user) !== serverName) return
      const content = { room_id: room, user_id: user, typing }
      sender.sendToRoom(room, { edu_type: 'm.typing', content }, `typing ${room} ${user}`)
    }),
    needs.presence.onChange((change) => {
      if (serverOfUser(change.user) !== serverName) return
      // Somebody who cannot be found now is told of at the next change.
      tellPresence(needs, change).catch((error: unknown) => {
        needs.log.warn({ error }, 'presence could not be told')
      })
    }),
  ]
  return {
    [Symbol.dispose]() {
      for (const subscription of subscriptions) subscription[Symbol.dispose]()
    },
  }
}

async function tellPresence(needs: Needs, change: PresenceChange): Promise<void> {
  const others = await needs.memberships.sharingWith(change.user)
  const servers = new Set([...others].map((user: UserId) => serverOfUser(user)))
  const content = { push: [presenceOf(change, needs.clock.now())] }
  needs.sender.sendTo(servers, { edu_type: 'm.presence', content }, `presence ${change.user}`)
}

function presenceOf(change: PresenceChange, now: number): JsonObject {
  return {
    user_id: change.user,
    presence: change.presence,
    last_active_ago: Math.max(0, now - change.lastActiveTs),
    currently_active: change.currentlyActive,
    ...(change.statusMsg !== undefined && { status_msg: change.statusMsg }),
  }
}
