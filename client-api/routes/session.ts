import type { Sessions, Tokens } from '../../homeserver/accounts/sessions.ts'
import * as api from '../../spec/api/client/session.ts'
import { forbidden, MatrixError } from '../../spec/errors.ts'
import { type DeviceId, serverOfUser, type UserId } from '../../spec/ids.ts'
import { type JsonObject, objectAt, stringAt } from '../../spec/json.ts'
import { given } from '../given.ts'
import { identifiedUser } from '../identifier.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { openRoute, route } from '../router.ts'

export type SessionRouteNeeds = Pick<
  ClientApiNeeds,
  'accounts' | 'addresses' | 'sessions' | 'config' | 'appservices' | 'loginTokens'
> & { readonly takeBudget: (limit: 'login', key: string) => void }

/** Log-in, log-out and whose a token is. */
export const sessionRoutes = (needs: SessionRouteNeeds) => [
  openRoute(api.getLoginFlows, () => ({
    flows: [
      { type: 'm.login.password' },
      ...(needs.config.loginTokens ? [{ type: 'm.login.token', get_login_token: true }] : []),
      { type: 'm.login.application_service' },
    ],
  })),
  openRoute(api.login, async ({ body }, who) => {
    const user =
      body.type === 'm.login.application_service'
        ? requireOwned(needs, identifiedUser(body, needs.config.serverName), who?.appservice)
        : await userOf(needs, body)
    return await startSession(needs.sessions, user, body)
  }),
  openRoute(api.refresh, async ({ body }) =>
    tokensReply(await needs.sessions.refresh(body.refresh_token)),
  ),
  route(api.logout, async (_, who) => {
    await needs.sessions.logout(who)
    return {}
  }),
  route(api.logoutAll, async (_, who) => {
    await needs.sessions.logoutAll(who.user)
    return {}
  }),
  route(api.whoami, (_, who) => ({
    user_id: who.user,
    is_guest: who.guest,
    ...given({ device_id: who.device }),
  })),
]

async function userOf(needs: SessionRouteNeeds, body: LoginBody): Promise<UserId> {
  if (body.type !== 'm.login.token' || !needs.config.loginTokens) {
    return await checkPassword(needs, body)
  }
  if (body.token === undefined) throw new MatrixError('M_MISSING_PARAM', 'token: missing')
  const user = await needs.loginTokens.take(body.token)
  if (user === undefined) throw forbidden('Invalid login token')
  return user
}

async function checkPassword(needs: SessionRouteNeeds, body: LoginBody): Promise<UserId> {
  if (body.type !== 'm.login.password') {
    throw new MatrixError('M_UNKNOWN', 'Unknown login type', { status: 400 })
  }
  if (body.password === undefined) throw new MatrixError('M_MISSING_PARAM', 'password: missing')
  const user = identifiedUser(body, needs.config.serverName) ?? (await ownerOfAddress(needs, body))
  if (user === undefined) throw forbidden('Invalid username or password')
  needs.takeBudget('login', `password ${user}`)
  if (await needs.accounts.verifyPassword(user, body.password)) return user
  throw forbidden('Invalid username or password')
}

/** Who signs in by a mail address. */
async function ownerOfAddress(
  { addresses }: SessionRouteNeeds,
  body: JsonObject,
): Promise<UserId | undefined> {
  const identifier = objectAt(body, 'identifier') ?? {}
  const address = stringAt(identifier, 'address')
  const isMail =
    stringAt(identifier, 'type') === 'm.id.thirdparty' && stringAt(identifier, 'medium') === 'email'
  if (!isMail || address === undefined || address.length > 320) return undefined
  return await addresses.ownerOf({ medium: 'email', address: address.toLowerCase() })
}

type LoginBody = JsonObject & {
  readonly type: string
  readonly password?: string
  readonly token?: string
}

/** The user that an application service logs in as: its own, or one in its namespaces. */
function requireOwned(
  needs: SessionRouteNeeds,
  user: UserId | undefined,
  appservice: string | undefined,
): UserId {
  if (appservice === undefined) {
    throw new MatrixError('M_MISSING_TOKEN', 'An application service logs in with its token')
  }
  if (user === undefined) throw new MatrixError('M_MISSING_PARAM', 'identifier: missing')
  if (needs.appservices?.byId(appservice)?.covers(user)) return user
  throw new MatrixError('M_EXCLUSIVE', 'The user is not in the namespaces of the service')
}

/** Which device a session is for, as log-in and registration ask for it. */
export interface DeviceRequest {
  readonly device_id?: DeviceId | null
  readonly initial_device_display_name?: string | null
  readonly refresh_token?: boolean | null
}

/** Starts a session and answers it as log-in and registration do. */
export async function startSession(sessions: Sessions, user: UserId, request: DeviceRequest) {
  const session = await sessions.login({
    user,
    ...given({
      deviceId: request.device_id,
      initialDisplayName: request.initial_device_display_name,
      refreshToken: request.refresh_token,
    }),
  })
  return {
    user_id: user,
    device_id: session.deviceId,
    home_server: serverOfUser(user),
    ...tokensReply(session),
  }
}

function tokensReply(tokens: Tokens) {
  return {
    access_token: tokens.accessToken,
    ...given({ refresh_token: tokens.refreshToken, expires_in_ms: tokens.expiresInMs }),
  }
}
