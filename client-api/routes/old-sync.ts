import * as api from '../../spec/api/client/old-sync.ts'
import { MatrixError } from '../../spec/errors.ts'
import { raw } from '../answer.ts'
import { given } from '../given.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { route } from '../router.ts'

/** What clients asked before there was /sync, and the preview of rooms. */
export const oldSyncRoutes = ({
  oldSync,
  rooms,
  config,
}: Pick<ClientApiNeeds, 'oldSync' | 'rooms' | 'config'>) => [
  route(api.getEvents, async ({ query, from: { signal } }, who) => {
    const { from, room_id: room } = query
    if (who.guest && room === undefined) {
      throw new MatrixError('M_MISSING_PARAM', 'room_id: guests look at one room')
    }
    const timeoutMs = Math.min(query.timeout, config.syncTimeoutMs)
    return await oldSync.stream(who, { timeoutMs, ...given({ from, room }) }, signal)
  }),
  route(api.getOneEvent, async ({ params }, who) =>
    raw(rooms.clientEvent(await oldSync.event(who, params.eventId), who)),
  ),
  route(api.initialSync, async ({ query, from: { signal } }, who) =>
    oldSync.snapshot(who, query, signal),
  ),
  route(api.roomInitialSync, async ({ params, query }, who) =>
    oldSync.roomSnapshot(who, params.roomId, query.limit),
  ),
]
