import * as api from '../../spec/api/client/mutual-rooms.ts'
import { invalidParam } from '../../spec/errors.ts'
import { given } from '../given.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { route } from '../router.ts'

/** Rooms of one answer. */
const roomsMax = 1_000

/** Rooms that two users are in. {@link https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mutual_rooms} */
export const mutualRoomRoutes = ({ memberships }: Pick<ClientApiNeeds, 'memberships'>) => [
  route(api.getMutualRooms, async ({ query }, who) => {
    if (query.user_id === who.user) throw invalidParam('user_id', 'your own')
    const start = offsetOf(query.from)
    const theirs = await memberships.ofUser(query.user_id)
    const shared = [...(await memberships.ofUser(who.user)).values()]
      .filter(({ room, membership }) => {
        return membership === 'join' && theirs.get(room)?.membership === 'join'
      })
      .map(({ room }) => room)
      .sort()
    const end = start + roomsMax
    const next = end < shared.length ? `m${end}` : undefined
    const joined = shared.slice(start, end)
    return { joined, count: shared.length, ...given({ next_batch: next }) }
  }),
]

function offsetOf(token: string | undefined): number {
  const offset = token === undefined ? '0' : /^m(\d{1,9})$/.exec(token)?.[1]
  if (offset === undefined) throw invalidParam('from', 'not a token of this list')
  return Number(offset)
}
