/** For operators: purging a room's history, deleting and blocking rooms, in the shapes of Synapse. */
import type { Purge, Purges } from '../../homeserver/events/purges.ts'
import type { RoomDeletions } from '../../homeserver/rooms/deletion.ts'
import * as api from '../../spec/api/client/admin-rooms.ts'
import { invalidParam, MatrixError, notFound } from '../../spec/errors.ts'
import { route } from '../router.ts'

interface Needs {
  readonly purges: Purges
  readonly deletions: RoomDeletions
}

export const roomAdminRoutes = ({ purges, deletions }: Needs) => [
  route(api.purgeHistory, async ({ params, body }) => {
    const event = params.eventId ?? body.purge_up_to_event_id
    const ts = body.purge_up_to_ts
    const before = event !== undefined ? { event } : ts !== undefined ? { ts } : undefined
    if (before === undefined) {
      throw new MatrixError(
        'M_MISSING_PARAM',
        'purge_up_to_event_id or purge_up_to_ts is missing',
        {
          status: 400,
        },
      )
    }
    const withLocal = body.delete_local_events
    return { purge_id: await purges.purgeHistory(params.roomId, before, { withLocal }) }
  }),
  route(api.getPurgeHistoryStatus, async ({ params: { purgeId } }) => {
    const [purge] = await purges.find({ id: purgeId })
    if (purge?.kind !== 'history') throw notFound('Purge')
    return { status: purge.status }
  }),
  route(api.deleteRoom, async ({ params: { roomId }, body }, { user }) => {
    if (body.new_room_user_id !== undefined) {
      throw invalidParam('new_room_user_id', 'users cannot be moved to another room')
    }
    const { block, purge } = body
    return { delete_id: await deletions.begin(roomId, user, { block, purge }) }
  }),
  route(api.getRoomDeletions, async ({ params: { roomId } }) => {
    const found = (await purges.find({ room: roomId })).filter(({ kind }) => kind === 'room')
    if (found.length === 0) throw notFound('Deletion')
    return { results: found.map((one) => ({ delete_id: one.id, ...statusOf(one) })) }
  }),
  route(api.getRoomDeletion, async ({ params: { deleteId } }) => {
    const [purge] = await purges.find({ id: deleteId })
    if (purge?.kind !== 'room') throw notFound('Deletion')
    return statusOf(purge)
  }),
  route(api.getRoomBlock, async ({ params: { roomId } }) => ({
    block: await purges.isBlocked(roomId),
  })),
  route(api.setRoomBlock, async ({ params: { roomId }, body: { block } }, { user }) => {
    await purges.setBlocked(roomId, block, user)
    return { block }
  }),
]

function statusOf({ status, detail }: Purge) {
  const texts = (value: unknown) => (Array.isArray(value) ? value.map(String) : [])
  const step = detail['step'] === 'purging' ? 'purging' : 'shutting_down'
  return {
    status: status === 'active' ? step : status,
    shutdown_room: {
      kicked_users: texts(detail['kicked_users']),
      failed_to_kick_users: texts(detail['failed_to_kick_users']),
      local_aliases: texts(detail['local_aliases']),
      new_room_id: null,
    },
  } as const
}
