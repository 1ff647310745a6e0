import { LRUCache } from 'lru-cache'
import type { EventId, RoomId } from '../../../spec/ids.ts'
import { atMost } from '../../platform/cache.ts'

/**
 * Member events that connections were sent because somebody had to be shown. In memory only: after a restart a few are
 * sent again.
 */
export interface SentMembers {
  /** A request of a connection; with the position that it was answered last it says that it has that answer. */
  begin(connection: string, pos: string | undefined): Sending
}

/** What one answer adds. */
export interface Sending {
  has(room: RoomId, member: string, event: EventId): boolean
  add(room: RoomId, member: string, event: EventId): void
  /** The answer is made: it counts when the connection comes back with its position. */
  done(pos: string): void
}

interface Known {
  readonly received: LRUCache<string, EventId>
  /** The members of the last answer, and its position. */
  last: { readonly pos: string; readonly members: ReadonlyMap<string, EventId> } | undefined
}

const connectionsMax = 10_000
const membersMax = 2_000

export function createSentMembers(): SentMembers {
  const connections = new LRUCache<string, Known>({ ...atMost(connectionsMax) })

  return {
    begin(connection, pos) {
      const before = pos === undefined ? undefined : connections.get(connection)
      const known: Known = before ?? { received: new LRUCache(atMost(membersMax)), last: undefined }
      if (before === undefined) connections.set(connection, known)
      if (known.last !== undefined && known.last.pos === pos) {
        for (const [member, event] of known.last.members) known.received.set(member, event)
        known.last = undefined
      }
      const members = new Map<string, EventId>()
      return {
        has(room, member, event) {
          const name = `${room} ${member}`
          return (members.get(name) ?? known.received.get(name)) === event
        },
        add: (room, member, event) => void members.set(`${room} ${member}`, event),
        done(answered) {
          known.last = members.size === 0 ? known.last : { pos: answered, members }
        },
      }
    },
  }
}
