import type { ThirdPartyNetworks } from '../../homeserver/appservices/third-party.ts'
import * as api from '../../spec/api/client/third-party.ts'
import { notFound } from '../../spec/errors.ts'
import { route } from '../router.ts'

/** Third-party networks that application services speak for. */
export const thirdPartyRoutes = ({ networks }: { readonly networks: ThirdPartyNetworks }) => [
  route(api.getProtocols, async () => await networks.protocols()),
  route(api.getProtocol, async ({ params }) => {
    const found = await networks.protocol(params.protocol)
    if (found === undefined) throw notFound('Protocol')
    return found
  }),
  route(api.findLocations, async ({ params, query }) => [
    ...(await networks.find('location', params.protocol, fieldsOf(query))),
  ]),
  route(api.findThirdPartyUsers, async ({ params, query }) => [
    ...(await networks.find('user', params.protocol, fieldsOf(query))),
  ]),
  route(api.locationsOfAlias, async ({ query: { alias } }) => [
    ...(await networks.meaning('location', { alias })),
  ]),
  route(api.thirdPartyUsersOf, async ({ query: { userid } }) => [
    ...(await networks.meaning('user', { userid })),
  ]),
]

/** A token in the query is for this server alone. */
function fieldsOf({ access_token: _, ...fields }: Readonly<Record<string, string>>) {
  return fields
}
