import type { RoomId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import { createCache } from '../platform/cache.ts'
import type { Tail } from '../stream/log.ts'
import { activityOf } from './activity-queries.ts'
import { isPurge } from './purged.ts'
import { isEventPayload } from './room-views.ts'

/** When something last happened in a room, as positions of the log. */
export interface Activity {
  /** The newest live event. */
  readonly last: number
  /** The newest one that a person would call activity; 0 when there was none lately. */
  readonly bump: number
}

export interface Activities {
  /** Of rooms that are here; one query for what is not at hand. */
  of(rooms: readonly RoomId[]): Promise<ReadonlyMap<RoomId, Activity>>
}

const roomsMax = 100_000

/** {@link https://github.com/matrix-org/matrix-spec-proposals/pull/4186} */
const bumpTypes: ReadonlySet<string> = new Set([
  'm.room.create',
  'm.room.message',
  'm.room.encrypted',
  'm.sticker',
  'm.call.invite',
  'm.poll.start',
  'm.beacon_info',
])

/** Is this the type of an event that brings a room up in a list. */
export function isBump(type: string): boolean {
  return bumpTypes.has(type)
}

/** Knows of the rooms that somebody has asked about; before the tail starts. */
export function createActivities(needs: {
  readonly db: Database
  readonly tail: Pick<Tail, 'subscribe'>
}): Activities {
  const cache = createCache<RoomId, Activity>({
    bound: { entriesMax: roomsMax },
    load: async (rooms) => {
      const found = new Map<RoomId, Activity>()
      for (const { room_id, last, bump } of await activityOf(needs.db, rooms, [...bumpTypes])) {
        if (last !== null) found.set(room_id, { last, bump: bump ?? 0 })
      }
      return found
    },
  })

  needs.tail.subscribe('activity', (rows) => {
    for (const row of rows) {
      const { kind, room, payload, position } = row
      if (room === undefined) continue
      if (isPurge(row)) cache.invalidate(room)
      if (kind !== 'event') continue
      const before = cache.peek(room)
      // Not here, or being read from what may be older.
      if (before === undefined || !isEventPayload(payload)) cache.invalidate(room)
      else {
        const isBumped = isBump(payload.event.pdu.type)
        cache.set(room, { last: position, bump: isBumped ? position : before.bump })
      }
    }
  })

  return {
    async of(rooms) {
      const found = new Map<RoomId, Activity>()
      const missing: RoomId[] = []
      for (const room of rooms) {
        const known = cache.peek(room)
        if (known === undefined) missing.push(room)
        else found.set(room, known)
      }
      if (missing.length === 0) return found
      for (const [room, read] of await cache.getMany(missing)) found.set(room, read)
      return found
    },
  }
}
