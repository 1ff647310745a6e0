/** Questions of other servers about users, aliases, keys and the public directory. */
import type { PublicRoomsQuery, Rooms } from '../../homeserver/rooms/rooms.ts'
import { getWellKnownServer } from '../../spec/api/client/misc.ts'
import { policySign } from '../../spec/api/federation/policy.ts'
import {
  claimUserKeys,
  getFederationPublicRooms,
  getFederationVersion,
  getUserDevices,
  publicRoomsMax,
  queryDirectory,
  queryProfile,
  queryUnknown,
  queryUserKeys,
  searchFederationPublicRooms,
} from '../../spec/api/federation/queries.ts'
import { invalidParam, MatrixError, notFound } from '../../spec/errors.ts'
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
  /** Host and port for other servers, when they are not where the server name says. */
  readonly federationAddress?: string
  readonly version: string
  readonly rooms: Pick<Rooms, 'resolveAlias' | 'publicRooms'>
  readonly profiles: { get(user: UserId): Promise<JsonObject> }
  readonly keys: LocalKeys
}

const publicRoomsDefault = 100

/** Which page of the public rooms is asked for. */
interface PageQuery {
  readonly limit?: number | undefined
  readonly since?: string | undefined
  readonly include_all_networks?: boolean | undefined
  readonly third_party_instance_id?: string | undefined
}

export function queryRoutes(needs: Needs): Route[] {
  const { rooms, serverName } = needs

  function requireLocal(user: UserId): void {
    if (serverOfUser(user) !== serverName) {
      throw invalidParam('user_id', 'the user is of another server')
    }
  }

  async function publicRooms(
    page: PageQuery,
    filter: Pick<PublicRoomsQuery, 'term' | 'types'> = {},
  ): Promise<JsonObject> {
    const { limit, since, third_party_instance_id: network, include_all_networks: all } = page
    return await rooms.publicRooms({
      ...filter,
      limit: Math.min(limit || publicRoomsDefault, publicRoomsMax),
      ...(since !== undefined && { since }),
      ...(network !== undefined && { network }),
      everyNetwork: all === true,
      isRemote: true,
    })
  }

  return [
    openRoute(getWellKnownServer, () => {
      if (needs.federationAddress === undefined) throw notFound('Address for other servers')
      return { 'm.server': needs.federationAddress }
    }),
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
    route(queryUnknown, () => {
      throw notFound('Query of this type')
    }),
    route(policySign, () => {
      throw new MatrixError('M_UNRECOGNIZED', 'This server is no policy server')
    }),
    route(getUserDevices, async ({ params: { userId } }) => {
      requireLocal(userId)
      return await needs.keys.localDevicesOf(userId)
    }),
    route(queryUserKeys, ({ body }) => needs.keys.localQuery(body.device_keys)),
    route(claimUserKeys, ({ body }) => needs.keys.localClaim(body.one_time_keys)),
    route(getFederationPublicRooms, ({ query }) => publicRooms(query)),
    route(searchFederationPublicRooms, ({ body: { filter, ...body } }) => {
      const { generic_search_term: term, room_types: types } = filter ?? {}
      return publicRooms(body, {
        ...(typeof term === 'string' && { term }),
        ...(Array.isArray(types) && { types }),
      })
    }),
  ]
}
