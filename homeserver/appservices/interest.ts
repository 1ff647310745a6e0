/** What an application service wants to hear of. {@link https://spec.matrix.org/v1.19/application-service-api/#registration} */
import { LRUCache } from 'lru-cache'
import type { Pdu } from '../../spec/events/event.ts'
import { isUserId, type RoomAlias, type RoomId, type UserId } from '../../spec/ids.ts'
import { atMost } from '../platform/cache.ts'
import type { Clock } from '../platform/clock.ts'
import type { Memberships } from '../rooms/rooms.ts'
import type { Appservice } from './appservices.ts'

export interface InterestNeeds {
  readonly clock: Pick<Clock, 'now'>
  readonly memberships: Pick<Memberships, 'localJoined' | 'ofUser'>
  /** Local aliases of a room. */
  readonly aliasesIn: (room: RoomId) => Promise<readonly RoomAlias[]>
}

export interface Interest {
  inRoom(room: RoomId): Promise<boolean>
  inEvent(pdu: Pdu): Promise<boolean>
  /** Is it one of the service's users, or in a room with one. */
  inUser(user: UserId): Promise<boolean>
  /** What was found is looked at anew: events may have passed that were not shown here. */
  forget(): void
}

const roomsMax = 20_000
/** Aliases come and go without an event: a room is looked at again after this. */
const roomMs = 10_000
/** Rooms of one user that are looked at. */
const roomsOfUserMax = 1_000

export function interestOf(service: Appservice, needs: InterestNeeds): Interest {
  const { clock, memberships, aliasesIn } = needs
  const rooms = new LRUCache<RoomId, { readonly verdict: boolean; readonly until: number }>({
    ...atMost(roomsMax),
  })

  async function inRoom(room: RoomId): Promise<boolean> {
    const known = rooms.get(room)
    if (known !== undefined && known.until > clock.now()) return known.verdict
    const verdict = await look(room)
    const until = service.namesAny ? clock.now() + roomMs : Number.POSITIVE_INFINITY
    rooms.set(room, { verdict, until })
    return verdict
  }

  async function look(room: RoomId): Promise<boolean> {
    if (service.watches(room)) return true
    if ((await memberships.localJoined(room)).some((user) => service.covers(user))) return true
    if (!service.namesAny) return false
    return (await aliasesIn(room)).some((alias) => service.names(alias))
  }

  return {
    inRoom,
    async inEvent({ type, roomId, sender, stateKey }) {
      const member = type === 'm.room.member' && isUserId(stateKey) ? stateKey : undefined
      const isMember = member !== undefined && service.covers(member)
      if (isMember) rooms.delete(roomId)
      return isMember || service.covers(sender) || (await inRoom(roomId))
    },
    async inUser(user) {
      if (service.covers(user)) return true
      const joined = [...(await memberships.ofUser(user)).values()].filter(
        ({ membership }) => membership === 'join',
      )
      for (const { room } of joined.slice(0, roomsOfUserMax)) if (await inRoom(room)) return true
      return false
    },
    forget: () => rooms.clear(),
  }
}
