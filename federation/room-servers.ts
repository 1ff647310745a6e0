/** Servers of rooms as the sender needs them: those before and after a membership event, at once when they are known. */
import { LRUCache } from 'lru-cache'
import type { EventPayload, Events } from '../homeserver/events/events.ts'
import { atMost } from '../homeserver/platform/cache.ts'
import type { RoomId, ServerName, UserId } from '../spec/ids.ts'
import { isUserId, serverOfUser } from '../spec/ids.ts'
import { stringAt } from '../spec/json.ts'

export interface RoomServers {
  /** Servers in the room now, if they are known. */
  peek(room: RoomId): ReadonlySet<ServerName> | undefined
  load(room: RoomId): Promise<ReadonlySet<ServerName>>
  /** Learns what an event changes; answers what the servers were before, if that was known. */
  apply(payload: EventPayload): ReadonlySet<ServerName> | undefined
  /** The state of the room changed without an event. */
  forget(room: RoomId): void
}

const roomsMax = 10_000

export function createRoomServers({ events }: { events: Pick<Events, 'serversIn'> }): RoomServers {
  const known = new LRUCache<RoomId, ReadonlySet<ServerName>>({ ...atMost(roomsMax) })
  /** Loads that began before a membership changed are not kept. */
  const loading = new Map<RoomId, Promise<ReadonlySet<ServerName>>>()

  async function load(room: RoomId): Promise<ReadonlySet<ServerName>> {
    const underWay = loading.get(room)
    if (underWay !== undefined) return await underWay
    const reading = events.serversIn(room)
    loading.set(room, reading)
    try {
      const servers = await reading
      if (loading.get(room) === reading) known.set(room, servers)
      return servers
    } finally {
      if (loading.get(room) === reading) loading.delete(room)
    }
  }

  function forget(room: RoomId): void {
    known.delete(room)
    loading.delete(room)
  }

  return {
    peek: (room) => known.get(room),
    load: async (room) => known.get(room) ?? (await load(room)),
    apply({ event: { pdu }, changesState }) {
      const before = known.get(pdu.roomId)
      const member = changesState ? memberOf(pdu) : undefined
      if (!member) return before
      const server = serverOfUser(member)
      const joins = stringAt(pdu.content, 'membership') === 'join'
      if (!joins || !before) forget(pdu.roomId)
      else if (!before.has(server)) known.set(pdu.roomId, new Set([...before, server]))
      return before
    },
    forget,
  }
}

/** The user whose membership the event sets. */
export function memberOf(pdu: EventPayload['event']['pdu']): UserId | undefined {
  return pdu.type === 'm.room.member' && isUserId(pdu.stateKey) ? pdu.stateKey : undefined
}
