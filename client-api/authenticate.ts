import type { IncomingMessage } from 'node:http'
import { LRUCache } from 'lru-cache'
import type { Accounts } from '../homeserver/accounts/accounts.ts'
import type { Sessions } from '../homeserver/accounts/sessions.ts'
import { atMost } from '../homeserver/platform/cache.ts'
import type { Requester } from '../homeserver/rooms/rooms.ts'
import type { Auth } from '../spec/endpoint.ts'
import { forbidden, MatrixError } from '../spec/errors.ts'
import { type DeviceId, parseDeviceId, parseUserId, type UserId } from '../spec/ids.ts'

/** An application service, as far as its token and its users go. */
interface AppserviceAccount {
  readonly id: string
  /** The user that it is when it names none. */
  readonly sender: UserId
  /** Whether its users are held to the rate limits; its sender never is. */
  readonly rateLimited: boolean
  /** Is the user in one of its namespaces. */
  covers(user: UserId): boolean
}

/** The application services that are registered here. */
export interface AppserviceAccounts {
  byToken(token: string): AppserviceAccount | undefined
  byId(id: string): AppserviceAccount | undefined
}

export interface AuthenticateNeeds {
  readonly sessions: Pick<Sessions, 'authenticate'>
  readonly appservices?: Pick<AppserviceAccounts, 'byToken'>
  /** Who application services have to have registered before they act as them. */
  readonly accounts?: Pick<Accounts, 'find'>
  /** Accept `?access_token=` too, as clients older than v1.11 of the specification send it. */
  readonly tokenInQuery: boolean
}

type Query = Readonly<Record<string, string | string[] | undefined>>

/** Users of application services that are known to exist: an account is never unmade. */
const knownUsersMax = 100_000

/**
 * Turns the access token of a request into who asks, and refuses who may not.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens}
 */
export function createAuthenticate(needs: AuthenticateNeeds) {
  const knownUsers = new LRUCache<UserId, true>({ ...atMost(knownUsersMax) })

  return async (auth: Auth, req: IncomingMessage, query: Query): Promise<Requester | undefined> => {
    if (auth === 'none') return undefined
    const token = tokenOf(req, needs.tokenInQuery ? query : {})
    if (token === undefined) {
      if (auth === 'optional') return undefined
      throw new MatrixError('M_MISSING_TOKEN', 'Missing access token')
    }
    const service = appserviceRequester(token, query)
    // Its own user is there from the start.
    if (service !== undefined && 'user_id' in query) await requireRegistered(service.user)
    if (auth === 'optional') return service ?? (await sessionOf(token).catch(ignoreUnknownToken))
    const who = service ?? (await sessionOf(token))
    requireKind(auth, who)
    return who
  }

  async function sessionOf(token: string): Promise<Requester> {
    const who = await needs.sessions.authenticate(token)
    if (who === undefined) throw new MatrixError('M_UNKNOWN_TOKEN', 'Unknown access token')
    return who
  }

  async function requireRegistered(user: UserId): Promise<void> {
    if (needs.accounts === undefined || knownUsers.has(user)) return
    if ((await needs.accounts.find(user)) === undefined) {
      throw forbidden('the application service has not registered this user')
    }
    knownUsers.set(user, true)
  }

  function appserviceRequester(token: string, query: Query): Requester | undefined {
    const service = needs.appservices?.byToken(token)
    if (service === undefined) return undefined
    const { user_id: named } = query
    const user = named === undefined ? service.sender : parseUserId(named)
    if (user !== service.sender && !service.covers(user)) {
      throw forbidden('the application service has no such user in its namespaces')
    }
    return { user, guest: false, admin: false, appservice: service.id, ...deviceOf(query) }
  }
}

/** Where nobody needs a token, one that is no longer good does no harm: clients log in again with it. */
function ignoreUnknownToken(error: unknown): undefined {
  if (error instanceof MatrixError && error.errcode === 'M_UNKNOWN_TOKEN') return undefined
  throw error
}

/** Application services may act as a device of the user they name (since v1.17 under the plain name). */
function deviceOf(query: Query): { device?: DeviceId } {
  const { device_id: named, 'org.matrix.msc3202.device_id': unstable } = query
  const device = named ?? unstable
  return device === undefined ? {} : { device: parseDeviceId(device) }
}

function requireKind(auth: Auth, who: Requester): void {
  if (who.guest && auth !== 'guest' && auth !== 'optional') {
    throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests may not do this')
  }
  if (auth === 'admin' && !who.admin) throw forbidden('only administrators of this server may')
  if (auth === 'appservice' && who.appservice === undefined) {
    throw forbidden('only application services may')
  }
}

const bearer = /^Bearer +([^\s]+)$/i

function tokenOf(req: IncomingMessage, query: Query): string | undefined {
  const { authorization } = req.headers
  if (authorization !== undefined) return bearer.exec(authorization)?.[1]
  const { access_token: token } = query
  return typeof token === 'string' && token !== '' ? token : undefined
}
