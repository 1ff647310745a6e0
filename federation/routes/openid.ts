/** Whose OpenID token it is: asked by whoever was given one. {@link https://spec.matrix.org/v1.19/server-server-api/#openid} */
import type { Openid } from '../../homeserver/accounts/openid.ts'
import { getOpenidUserinfo } from '../../spec/api/federation/queries.ts'
import { MatrixError } from '../../spec/errors.ts'
import { openRoute, type Route } from '../router.ts'

export function openidRoutes({ openid }: { readonly openid: Pick<Openid, 'userOf'> }): Route[] {
  return [
    openRoute(getOpenidUserinfo, async ({ query: { access_token: token } }) => {
      if (token === undefined) throw new MatrixError('M_MISSING_TOKEN', 'Missing access token')
      const user = await openid.userOf(token)
      if (user === undefined) {
        throw new MatrixError('M_UNKNOWN_TOKEN', 'Access token unknown or expired')
      }
      return { sub: user }
    }),
  ]
}
