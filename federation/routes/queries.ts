/** Questions of other servers about users, aliases, keys and the public directory. */
import type { Rooms } from '../../homeserver/rooms/rooms.ts'
import {
  claimUserKeys,
  getFederationPublicRooms,
  getFederationVersion,
  getUserDevices,
  publicRoomsMax,
  queryDirectory,
  queryProfile,
  queryUserKeys,
  searchFederationPublicRooms,
} from '../../spec/api/federation/queries.ts'
import { invalidParam, notFound } from '../../spec/errors.ts'
import { type ServerName, serverOfAlias, serverOfUser, type UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { openRoute, type Route, route } from '../router.ts'

/** What other servers may ask of our users' devices. */
export interface LocalKeys {
  /** Body of GET /user/devices; M_NOT_FOUND for unknown users. */
  localDevicesOf(user: UserId): Promise<JsonObject>
  /** `query` is what `device_keys` asks; answers the body of /user/keys/query. */
  localQuery(query: JsonObject): Promise<JsonObject>
  /** `claim` is what `one_time_keys` asks; answers the body of /user/keys/claim. */
  localClaim(claim: JsonObject): Promise<JsonObject>
}

interface Needs {
  readonly serverName: ServerName
  readonly version: string
  readonly rooms: Pick<Rooms, 'resolveAlias' | 'publicRooms'>
  readonly profiles: { get(user: UserId): Promise<JsonObject> }
  readonly keys: LocalKeys
}

const publicRoomsDefault = 100

export function queryRoutes(needs: Needs): Route[] {
  const { rooms, serverName } = needs

  function requireLocal(user: UserId): void {
    if (serverOfUser(user) !== serverName) {
      throw invalidParam('user_id', 'the user is of another server')
    }
  }

  return [
    openRoute(getFederationVersion, () => ({
      server: { name: 'Folkmoot', version: needs.version },
    })),
    route(queryDirectory, async ({ query: { room_alias: alias } }) => {
      if (serverOfAlias(alias) !== serverName) throw notFound('Room alias')
      const { room, servers } = await rooms.resolveAlias(alias)
      return { room_id: room, servers: [...servers] }
    }),
    route(queryProfile, async ({ query: { user_id: user, field } }) => {
      requireLocal(user)
      const profile = await needs.profiles.get(user)
      if (field === undefined) return profile
      const value = Object.hasOwn(profile, field) ? profile[field] : undefined
      return value === undefined ? {} : { [field]: value }
    }),
    route(getUserDevices, async ({ params: { userId } }) => {
      requireLocal(userId)
      return await needs.keys.localDevicesOf(userId)
    }),
    route(queryUserKeys, ({ body }) => needs.keys.localQuery(body.device_keys)),
    route(claimUserKeys, ({ body }) => needs.keys.localClaim(body.one_time_keys)),
    route(getFederationPublicRooms, ({ query: { limit, since } }) =>
      rooms.publicRooms({
        limit: limit || publicRoomsDefault,
        ...(since !== undefined && { since }),
      }),
    ),
    route(searchFederationPublicRooms, ({ body: { limit, since, filter } }) => {
      const term = filter?.generic_search_term
      return rooms.publicRooms({
        limit: Math.min(limit || publicRoomsDefault, publicRoomsMax),
        ...(since !== undefined && { since }),
        ...(typeof term === 'string' && { term }),
      })
    }),
  ]
}
