import { isRoomId, type RoomId, type UserId } from '../../spec/ids.ts'
import { isEventPayload } from '../rooms/memberships.ts'
import type { Memberships } from '../rooms/rooms.ts'
import type { LogRow, Tail } from '../stream/log.ts'
import { createTailedCache } from '../stream/tailed-cache.ts'

/** Which local members of a room may have pushers. Most rooms have none, and an event there costs a look. */
export interface PushAudience {
  /** If it is at hand. */
  peek(room: RoomId): readonly UserId[] | undefined
  of(room: RoomId): Promise<readonly UserId[]>
}

interface Audience {
  readonly users: readonly UserId[]
  /** How many users had pushers when it was made: it holds until there is one more. */
  readonly among: number
}

const roomsMax = 20_000

/** `withPushers` only grows. */
export function createPushAudience(needs: {
  readonly tail: Pick<Tail, 'subscribe'>
  readonly memberships: Pick<Memberships, 'localJoined'>
  readonly withPushers: () => ReadonlySet<UserId>
}): PushAudience {
  const { memberships, withPushers } = needs
  const cache = createTailedCache<Audience>({
    tail: needs.tail,
    name: 'push_audience',
    entriesMax: roomsMax,
    staleBy: changedMembers,
    async load(room) {
      const among = withPushers().size
      const members = isRoomId(room) ? await memberships.localJoined(room) : []
      return { users: members.filter((user) => withPushers().has(user)), among }
    },
  })

  function peek(room: RoomId): readonly UserId[] | undefined {
    const known = cache.peek(room)
    if (known === undefined || known.among === withPushers().size) return known?.users
    cache.drop(room)
    return undefined
  }

  return {
    peek,
    of: async (room) => peek(room) ?? (await cache.get(room)).users,
  }
}

function changedMembers({ kind, room, payload }: LogRow): RoomId | undefined {
  if (kind === 'state') return room
  if (kind !== 'event' || !isEventPayload(payload) || !payload.changesState) return undefined
  return payload.event.pdu.type === 'm.room.member' ? room : undefined
}
