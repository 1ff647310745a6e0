import type { Accounts } from '../homeserver/accounts/accounts.ts'
import type { Requester } from '../homeserver/rooms/rooms.ts'
import { forbidden, MatrixError } from '../spec/errors.ts'
import { type JsonObject, stringAt } from '../spec/json.ts'
import { identifiedUser } from './identifier.ts'

/** A stage of user-interactive authentication that this server knows. */
export type Stage = 'm.login.dummy' | 'm.login.password' | 'm.login.registration_token'

export interface StageNeeds {
  readonly accounts: Pick<Accounts, 'verifyPassword'>
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

  /** Why the stage is not done; undefined when it is. */
  return async function refusalOf(
    stage: Stage,
    auth: JsonObject,
    who: Requester | undefined,
  ): Promise<MatrixError | undefined> {
    switch (stage) {
      case 'm.login.dummy':
        return undefined
      case 'm.login.password':
        return (await isPassword(auth, who)) ? undefined : forbidden('Invalid password')
      case 'm.login.registration_token':
        return needs.registrationTokens.includes(stringAt(auth, 'token') ?? '')
          ? undefined
          : new MatrixError('M_UNAUTHORIZED', 'Invalid registration token')
      default:
        return stage satisfies never
    }
  }
}
