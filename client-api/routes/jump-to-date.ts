import type { JumpToDate } from '../../homeserver/rooms/jump-to-date.ts'
import * as api from '../../spec/api/client/jump-to-date.ts'
import { route } from '../router.ts'

/** Events by when they were sent. */
export const jumpRoutes = ({ rooms }: { readonly rooms: JumpToDate }) => [
  route(api.getEventByTimestamp, async ({ params, query }, who) => {
    const { pdu } = await rooms.eventByTime(who, params.roomId, query)
    return { event_id: pdu.eventId, origin_server_ts: pdu.originServerTs }
  }),
]
