/** Accounts that administrators lock or suspend. {@link https://spec.matrix.org/v1.19/client-server-api/#account-moderation} */
import type { Accounts } from '../../homeserver/accounts/accounts.ts'
import * as api from '../../spec/api/client/admin.ts'
import { forbidden, invalidParam, notFound } from '../../spec/errors.ts'
import { type ServerName, serverOfUser, type UserId } from '../../spec/ids.ts'
import { route } from '../router.ts'

interface Needs {
  readonly accounts: Pick<Accounts, 'find' | 'restrict'>
  readonly config: { readonly serverName: ServerName }
}

export const moderationRoutes = ({ accounts, config }: Needs) => {
  /** An account of this server that is nobody's who may lock others. */
  async function moderated(user: UserId) {
    if (serverOfUser(user) !== config.serverName) throw invalidParam('userId', 'not a local user')
    const account = await accounts.find(user)
    if (account === undefined || account.deactivated) throw notFound('User')
    if (account.admin) throw forbidden('The user is an administrator')
    return account
  }

  return [
    route(api.getLock, async ({ params: { userId } }) => {
      const { locked } = await moderated(userId)
      return { locked }
    }),
    route(api.setLock, async ({ params: { userId }, body: { locked } }) => {
      await moderated(userId)
      await accounts.restrict(userId, { locked })
      return { locked }
    }),
    route(api.getSuspension, async ({ params: { userId } }) => {
      const { suspended } = await moderated(userId)
      return { suspended }
    }),
    route(api.setSuspension, async ({ params: { userId }, body: { suspended } }) => {
      await moderated(userId)
      await accounts.restrict(userId, { suspended })
      return { suspended }
    }),
  ]
}
