import type { Accounts } from '../homeserver/accounts/accounts.ts'
import type { Addresses } from '../homeserver/accounts/addresses.ts'
import type { Requester } from '../homeserver/rooms/rooms.ts'
import { forbidden, MatrixError } from '../spec/errors.ts'
import { type JsonObject, objectAt, stringAt } from '../spec/json.ts'
import { identifiedUser } from './identifier.ts'

/** A stage of user-interactive authentication that this server knows. */
export type Stage =
  | 'm.login.dummy'
  | 'm.login.password'
  | 'm.login.registration_token'
  | 'm.login.email.identity'

export interface StageNeeds {
  readonly accounts: Pick<Accounts, 'verifyPassword'>
  readonly addresses: Pick<Addresses, 'validated' | 'ownerOf' | 'confirm'>
  readonly serverName: string
  readonly registrationTokens: readonly string[]
  readonly takeBudget: (limit: 'login', key: string) => void
}

/**
 * Checks what a client offers for a stage.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#authentication-types}
 */
export function createStages(needs: StageNeeds) {
  async function isPassword(auth: JsonObject, who: Requester | undefined): Promise<boolean> {
    const password = stringAt(auth, 'password')
    if (who === undefined || password === undefined) return false
    needs.takeBudget('login', `password ${who.user}`)
    const user = identifiedUser(auth, needs.serverName) ?? who.user
    if (user !== who.user) throw forbidden('Only the owner of the access token can confirm this')
    return await needs.accounts.verifyPassword(user, password)
  }

  /** A registration takes any address that was proved for one; all else takes the one of the account. */
  async function isAddress(auth: JsonObject, { who, session, purpose }: StageOf): Promise<boolean> {
    const credentials = credentialsIn(auth)
    const proved = credentials && (await needs.addresses.validated(credentials, [purpose]))
    if (!(credentials && proved)) return false
    if (purpose === 'password') {
      const owner = await needs.addresses.ownerOf(proved)
      if (owner === undefined || (who !== undefined && owner !== who.user)) return false
    }
    await needs.addresses.confirm(credentials, session)
    return true
  }

  /** Why the stage is not done; undefined when it is. */
  return async function refusalOf(
    stage: Stage,
    auth: JsonObject,
    of: StageOf,
  ): Promise<MatrixError | undefined> {
    switch (stage) {
      case 'm.login.dummy':
        return undefined
      case 'm.login.password':
        return (await isPassword(auth, of.who)) ? undefined : forbidden('Invalid password')
      case 'm.login.registration_token':
        return needs.registrationTokens.includes(stringAt(auth, 'token') ?? '')
          ? undefined
          : new MatrixError('M_UNAUTHORIZED', 'Invalid registration token')
      case 'm.login.email.identity':
        return (await isAddress(auth, of))
          ? undefined
          : new MatrixError('M_UNAUTHORIZED', 'The address has not been confirmed')
      default:
        return stage satisfies never
    }
  }
}

/** What a stage is for. */
export interface StageOf {
  readonly who: Requester | undefined
  /** Id of the interactive authentication. */
  readonly session: string
  /** What an address has to have been proved for. */
  readonly purpose: 'register' | 'password'
}

/** Clients of old write the name in one word. */
function credentialsIn(auth: JsonObject) {
  const given = objectAt(auth, 'threepid_creds') ?? objectAt(auth, 'threepidCreds') ?? {}
  const sid = stringAt(given, 'sid')
  const clientSecret = stringAt(given, 'client_secret')
  const isGood = (text: string | undefined) => text !== undefined && /^[\w.=-]{1,255}$/.test(text)
  return sid !== undefined && clientSecret !== undefined && isGood(sid) && isGood(clientSecret)
    ? { sid, clientSecret }
    : undefined
}
