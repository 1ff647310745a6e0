import type { Seen } from '../../homeserver/events/events.ts'
import type { RelatedRequest } from '../../homeserver/rooms/related.ts'
import type { Requester } from '../../homeserver/rooms/rooms.ts'
import * as api from '../../spec/api/client/relations.ts'
import type { EventId, RoomId } from '../../spec/ids.ts'
import { rawArray, rawObject } from '../answer.ts'
import { given } from '../given.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { route } from '../router.ts'

type Query = ReturnType<typeof api.getRelations.query.parse>

/** What relates to events, and the threads of rooms. */
export const relationRoutes = ({ rooms }: Pick<ClientApiNeeds, 'rooms'>) => {
  const texts = (events: readonly Seen[], who: Requester) =>
    rawArray(events.map((event) => rooms.clientEvent(event, who)))

  async function related(
    who: Requester,
    { roomId, eventId }: { roomId: RoomId; eventId: EventId },
    { from, to, dir, limit, ...query }: Query,
    kind: Pick<RelatedRequest, 'relType' | 'eventType'>,
  ) {
    const recurse = query.recurse || query['org.matrix.msc3981.recurse']
    const asked = { dir, limit, recurse, ...given({ from, to }), ...kind }
    const page = await rooms.related(who, roomId, eventId, asked)
    return rawObject({
      chunk: texts(page.chunk, who),
      ...(page.next !== undefined && { next_batch: JSON.stringify(page.next) }),
      ...(from !== undefined && { prev_batch: JSON.stringify(from) }),
      ...(page.recursionDepth !== undefined && { recursion_depth: `${page.recursionDepth}` }),
    })
  }

  return [
    route(api.getRelations, ({ params, query }, who) => related(who, params, query, {})),
    route(api.getRelationsOfType, ({ params, query }, who) =>
      related(who, params, query, { relType: params.relType }),
    ),
    route(api.getRelationsOfEventType, ({ params, query }, who) =>
      related(who, params, query, { relType: params.relType, eventType: params.eventType }),
    ),
    route(api.getThreads, async ({ params, query }, who) => {
      const { include, from, limit } = query
      const asked = { participated: include === 'participated', limit, ...given({ from }) }
      const page = await rooms.threads(who, params.roomId, asked)
      return rawObject({
        chunk: texts(page.chunk, who),
        ...(page.next !== undefined && { next_batch: JSON.stringify(page.next) }),
      })
    }),
  ]
}
