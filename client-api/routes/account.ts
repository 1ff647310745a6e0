import * as api from '../../spec/api/client/account.ts'
import { forbidden, MatrixError } from '../../spec/errors.ts'
import { isUserId, localpartOf, type UserId } from '../../spec/ids.ts'
import { type JsonObject, stringAt } from '../../spec/json.ts'
import type { Stage } from '../auth-stages.ts'
import { given } from '../given.ts'
import type { Interactive } from '../interactive-auth.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { parsePart } from '../parse.ts'
import { openRoute, route } from '../router.ts'
import { startSession } from './session.ts'

export type AccountRouteNeeds = Pick<
  ClientApiNeeds,
  'accounts' | 'addresses' | 'sessions' | 'config'
> & {
  readonly interactive: Interactive
}

const byPassword: readonly (readonly Stage[])[] = [['m.login.password']]

/** Accounts: made, given another password, closed. */
export const accountRoutes = (needs: AccountRouteNeeds) => [
  openRoute(api.register, async ({ query, body }, who) => {
    if (query.kind === 'guest') return await registerGuest(needs, body)
    if (who?.appservice !== undefined) return await registerByService(needs, body, who.appservice)
    if (body.type === 'm.login.application_service') throw missingToken()
    return await registerUser(needs, body)
  }),
  openRoute(api.checkUsername, async ({ query }) => {
    await needs.accounts.checkAvailable(query.username)
    return { available: true }
  }),
  openRoute(api.checkRegistrationToken, ({ query }) => {
    if (needs.config.registration !== 'token') throw forbidden('Registration takes no tokens')
    return { valid: needs.config.registrationTokens?.includes(query.token) ?? false }
  }),
  openRoute(api.changePassword, async ({ body }, who) => {
    if (who?.guest) throw noGuests('A guest has no password')
    const flows = passwordFlows(needs, who !== undefined)
    const guarded = { operation: 'password', ...given({ who }), flows, body }
    return await needs.interactive(guarded, async (confirmed) => {
      const { new_password, logout_devices } = parsePart(
        api.changePassword.body,
        confirmed.body,
        'body',
      )
      if (new_password === undefined) throw missing('new_password')
      const user = who?.user ?? (await ownerOfAddress(needs, confirmed.session))
      await needs.accounts.setPassword(user, new_password)
      if (logout_devices !== false) await needs.sessions.logoutAll(user, who?.device)
      return {}
    })
  }),
  route(api.deactivateAccount, async ({ body }, who) =>
    needs.interactive(
      { operation: 'deactivate', who, flows: byPassword, body },
      async (confirmed) => {
        const { erase } = parsePart(api.deactivateAccount.body, confirmed.body, 'body')
        await needs.accounts.deactivate(who.user, { erase: erase === true })
        return { id_server_unbind_result: 'no-support' as const }
      },
    ),
  ),
]

type RegisterBody = ReturnType<typeof parseRegistration>
const parseRegistration = (body: JsonObject) => parsePart(api.register.body, body, 'body')

async function registerUser(needs: AccountRouteNeeds, body: RegisterBody) {
  const flows = registrationFlows(needs)
  if (typeof body.username === 'string' && stringAt(body.auth ?? {}, 'session') === undefined) {
    await needs.accounts.checkAvailable(body.username)
  }
  return await needs.interactive({ operation: 'register', flows, body }, async (confirmed) => {
    const request = parseRegistration(confirmed.body)
    // A client that missed the answer asks again: it gets a session of the account that is there already.
    const known = stringAt(confirmed.done ?? {}, 'user_id')
    if (isUserId(known)) return await sessionReply(needs, known, request)
    if (!request.password) throw missing('password')
    const { username: localpart, password } = request
    const address = await needs.addresses.confirmedBy(confirmed.session)
    if (address !== undefined && (await needs.addresses.ownerOf(address)) !== undefined) {
      throw new MatrixError('M_THREEPID_IN_USE', 'The address belongs to an account')
    }
    const user = await needs.accounts.register({ ...given({ localpart }), password })
    await confirmed.remember({ user_id: user })
    if (address !== undefined) await needs.addresses.add(user, address)
    return await sessionReply(needs, user, request)
  })
}

/** With mail an address may be given, or has to be where the operator wants that. */
function registrationFlows(needs: AccountRouteNeeds): readonly (readonly Stage[])[] {
  const { config, addresses } = needs
  const byAddress = ['m.login.email.identity'] as const
  const needsAddress = addresses.enabled && config.registrationNeedsAddress === true
  switch (config.registration) {
    case 'closed':
      throw forbidden('Registration is closed on this server')
    case 'open':
      if (needsAddress) return [byAddress]
      return addresses.enabled ? [['m.login.dummy'], byAddress] : [['m.login.dummy']]
    case 'token': {
      const byToken = ['m.login.registration_token'] as const
      if (needsAddress) return [[...byToken, ...byAddress]]
      return addresses.enabled ? [byToken, [...byToken, ...byAddress]] : [byToken]
    }
    default:
      return config.registration satisfies never
  }
}

/** Who has forgotten the password proves the address of the account. */
function passwordFlows({ addresses }: AccountRouteNeeds, isKnown: boolean) {
  const byAddress: readonly Stage[] = ['m.login.email.identity']
  if (isKnown) return addresses.enabled ? [...byPassword, byAddress] : byPassword
  if (!addresses.enabled) throw new MatrixError('M_MISSING_TOKEN', 'No access token')
  return [byAddress]
}

async function ownerOfAddress({ addresses }: AccountRouteNeeds, session: string): Promise<UserId> {
  const address = await addresses.confirmedBy(session)
  const owner = address && (await addresses.ownerOf(address))
  if (owner === undefined) throw forbidden('The address belongs to no account')
  return owner
}

async function registerGuest(needs: AccountRouteNeeds, body: RegisterBody) {
  if (!needs.config.guests) {
    throw noGuests('Guests are not admitted here')
  }
  const user = await needs.accounts.register({ guest: true })
  const { initial_device_display_name } = body
  return await startSession(needs.sessions, user, given({ initial_device_display_name }))
}

async function registerByService(needs: AccountRouteNeeds, body: RegisterBody, appservice: string) {
  if (!body.username) throw missing('username')
  const localpart =
    body.username.startsWith('@') && isUserId(body.username)
      ? localpartOf(body.username)
      : body.username
  const user = await needs.accounts.register({ localpart, appservice })
  return await sessionReply(needs, user, body)
}

async function sessionReply(
  needs: AccountRouteNeeds,
  user: Parameters<typeof startSession>[1],
  body: RegisterBody,
) {
  return body.inhibit_login ? { user_id: user } : await startSession(needs.sessions, user, body)
}

function noGuests(why: string): MatrixError {
  return new MatrixError('M_GUEST_ACCESS_FORBIDDEN', why)
}

function missing(field: string): MatrixError {
  return new MatrixError('M_MISSING_PARAM', `${field}: missing`)
}

function missingToken(): MatrixError {
  return new MatrixError('M_MISSING_TOKEN', 'An application service registers with its token')
}
