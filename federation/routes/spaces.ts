/** Spaces that are here, for servers whose users walk through them. */
import type { Spaces } from '../../homeserver/rooms/hierarchy.ts'
import { getFederationHierarchy } from '../../spec/api/federation/queries.ts'
import { type Route, route } from '../router.ts'

export function spaceRoutes({ spaces }: { readonly spaces: Pick<Spaces, 'forServer'> }): Route[] {
  return [
    route(getFederationHierarchy, ({ params, query }, origin) =>
      spaces.forServer(origin, params.roomId, query.suggested_only === true),
    ),
  ]
}
