import * as api from '../../spec/api/client/openid.ts'
import { forbidden } from '../../spec/errors.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { route } from '../router.ts'

/** Tokens by which users prove to others who they are. */
export const openidRoutes = ({ openid, config }: Pick<ClientApiNeeds, 'openid' | 'config'>) => [
  route(api.requestOpenidToken, async ({ params }, who) => {
    if (params.userId !== who.user) throw forbidden('Cannot request tokens for other users')
    const { token, expiresInMs } = await openid.issue(who.user)
    return {
      access_token: token,
      token_type: 'Bearer' as const,
      matrix_server_name: config.serverName,
      expires_in: Math.floor(expiresInMs / 1000),
    }
  }),
]
