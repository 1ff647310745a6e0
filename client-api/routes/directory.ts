import type { Remote } from '../../homeserver/ports.ts'
import type { PublicRoomsQuery, Rooms } from '../../homeserver/rooms/rooms.ts'
import * as api from '../../spec/api/client/directory.ts'
import { MatrixError } from '../../spec/errors.ts'
import type { ServerName } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { given } from '../given.ts'
import { openRoute, route } from '../router.ts'

type DirectoryRooms = Pick<
  Rooms,
  | 'resolveAlias'
  | 'createAlias'
  | 'deleteAlias'
  | 'aliasesOf'
  | 'visibility'
  | 'setVisibility'
  | 'setNetworkVisibility'
  | 'publicRooms'
>

/** Rooms of a page unless the client says how many. */
const pageDefault = 100

/** Aliases and the list of public rooms. */
export const directoryRoutes = ({
  rooms,
  remote,
  config,
}: {
  readonly rooms: DirectoryRooms
  readonly remote: Pick<Remote, 'publicRooms'>
  readonly config: { readonly serverName: ServerName }
}) => {
  /** Another server's list is asked for there. */
  async function publicRooms(
    server: ServerName | undefined,
    body: JsonObject,
    filter: Pick<PublicRoomsQuery, 'term' | 'types'> = {},
  ) {
    if (server !== undefined && server !== config.serverName) {
      return await remote.publicRooms(server, body)
    }
    const { limit, since, third_party_instance_id: network } = body
    return await rooms.publicRooms({
      ...filter,
      everyNetwork: body['include_all_networks'] === true,
      ...given({ network: typeof network === 'string' ? network : undefined }),
      limit: typeof limit === 'number' ? limit : pageDefault,
      ...given({ since: typeof since === 'string' ? since : undefined }),
    })
  }

  return [
    openRoute(api.resolveAlias, async ({ params }) => {
      const { room, servers } = await rooms.resolveAlias(params.roomAlias)
      return { room_id: room, servers: [...servers] }
    }),
    route(api.createAlias, async ({ params, body }, who) => {
      await rooms.createAlias(who, params.roomAlias, body.room_id)
      return {}
    }),
    route(api.deleteAlias, async ({ params }, who) => {
      await rooms.deleteAlias(who, params.roomAlias)
      return {}
    }),
    route(api.getAliases, async ({ params }, who) => ({
      aliases: [...(await rooms.aliasesOf(who, params.roomId))],
    })),
    openRoute(api.getRoomVisibility, async ({ params }) => ({
      visibility: await rooms.visibility(params.roomId),
    })),
    route(api.setRoomVisibility, async ({ params, body }, who) => {
      await rooms.setVisibility(who, params.roomId, body.visibility)
      return {}
    }),
    route(api.setNetworkVisibility, async ({ params, body }, who) => {
      const { networkId, roomId } = params
      await rooms.setNetworkVisibility(who, networkId, roomId, body.visibility)
      return {}
    }),
    openRoute(api.getPublicRooms, async ({ query }, who) => {
      const { server, limit, since } = query
      // Strangers may read our list, and may not send us to other servers.
      if (who === undefined && server !== undefined && server !== config.serverName) {
        throw new MatrixError('M_MISSING_TOKEN', 'Missing access token')
      }
      return await publicRooms(server, given({ limit, since }))
    }),
    route(api.searchPublicRooms, async ({ query, body }) => {
      const { generic_search_term: term, room_types: types } = body.filter ?? {}
      return await publicRooms(query.server, body, given({ term, types }))
    }),
  ]
}
