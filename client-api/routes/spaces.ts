import * as api from '../../spec/api/client/spaces.ts'
import { given } from '../given.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { openRoute, route } from '../router.ts'

/** Rooms as they are found before anybody is in them. */
export const spaceRoutes = ({ spaces }: Pick<ClientApiNeeds, 'spaces'>) => [
  route(api.getSpaceHierarchy, async ({ params, query }, who) => {
    const { suggested_only: suggestedOnly, limit, max_depth: maxDepth, from } = query
    const asked = { suggestedOnly, limit, ...given({ maxDepth, from }) }
    return await spaces.hierarchy(who, params.roomId, asked)
  }),
  openRoute(api.getRoomSummary, async ({ params, query }, who) =>
    spaces.summary(who, params.roomIdOrAlias, query.via ?? []),
  ),
]
