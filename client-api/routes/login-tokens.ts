import * as api from '../../spec/api/client/session.ts'
import { forbidden } from '../../spec/errors.ts'
import { unrecognized } from '../errors.ts'
import type { Interactive } from '../interactive-auth.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { route } from '../router.ts'

type Needs = Pick<ClientApiNeeds, 'loginTokens' | 'config'> & { readonly interactive: Interactive }

/** A token by which somebody who is signed in lets another device in. */
export const loginTokenRoutes = ({ loginTokens, config, interactive }: Needs) => [
  route(api.getLoginToken, async ({ body }, who) => {
    if (config.loginTokens !== true) throw unrecognized()
    const flows = [['m.login.password']] as const
    const guarded = { operation: 'loginToken', who, flows, body }
    return await interactive(guarded, async ({ done, remember }) => {
      // Each token has to be confirmed anew, so a confirmation is good for one.
      if (done !== undefined) throw forbidden('The session was used for another token')
      await remember({ used: true })
      const { token, expiresInMs } = await loginTokens.issue(who.user)
      return { login_token: token, expires_in_ms: expiresInMs }
    })
  }),
]
