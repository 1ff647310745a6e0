import * as api from '../../spec/api/client/misc.ts'
import { notFound } from '../../spec/errors.ts'
import type { JsonObject } from '../../spec/json.ts'
import { roomVersions, unstableRoomVersions } from '../../spec/room/version.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { openRoute, route } from '../router.ts'
import { transportsOf } from './calls.ts'

/** What the server is and can do, and what it has to answer though it does not do it. */
export const miscRoutes = ({ config, addresses }: Pick<ClientApiNeeds, 'config' | 'addresses'>) => [
  openRoute(api.getVersions, () => ({ versions, unstable_features: featuresOf(config) })),
  route(api.getCapabilities, (_, { admin }) => ({
    capabilities: {
      ...capabilitiesOf(config, addresses.enabled),
      ...(admin && { 'm.account_moderation': { suspend: true, lock: true } }),
    },
  })),
  openRoute(api.getWellKnownClient, ({ from }) => ({
    'm.homeserver': { base_url: config.publicBaseUrl || from.baseUrl },
    ...(transportsOf(config).length > 0 && {
      'org.matrix.msc4143.rtc_foci': transportsOf(config),
    }),
  })),
  openRoute(api.getWellKnownServer, () => {
    if (config.federationAddress === undefined) throw notFound('address for other servers')
    return { 'm.server': config.federationAddress }
  }),
  openRoute(api.getWellKnownPolicyServer, () => {
    if (!config.policyServerKey) throw notFound('policy server')
    return { public_keys: { ed25519: config.policyServerKey } }
  }),
  openRoute(api.getWellKnownSupport, () => {
    if (config.adminContact === undefined) throw notFound('contact')
    return { contacts: [{ role: 'm.role.admin', email_address: config.adminContact }] }
  }),
]

/** Versions of the client-server API whose required parts are served. */
const versions = [
  'r0.0.1',
  'r0.1.0',
  'r0.2.0',
  'r0.3.0',
  'r0.4.0',
  'r0.5.0',
  'r0.6.0',
  'r0.6.1',
  ...Array.from({ length: 12 }, (_, minor) => `v1.${minor + 1}`),
]

/** Later parts that are served already, by the names under which clients look for them. */
const unstable_features = {
  'org.matrix.e2e_cross_signing': true,
  'org.matrix.msc2432': true,
  'org.matrix.msc3026.busy_presence': true,
  'org.matrix.msc3391': true,
  'org.matrix.msc3440.stable': true,
  'org.matrix.msc3771': true,
  'org.matrix.msc3814': true,
  'org.matrix.msc3874': true,
  'org.matrix.msc3881': true,
  'org.matrix.msc3890': true,
  'org.matrix.msc3981': true,
  'org.matrix.msc4076': true,
  'org.matrix.msc4133.stable': true,
  'org.matrix.msc4155': true,
  'org.matrix.msc4222': true,
  'org.matrix.msc4306': true,
  'org.matrix.msc4380': true,
  'org.matrix.simplified_msc3575': true,
  'uk.half-shot.msc2666.query_mutual_rooms': true,
  'uk.tcpip.msc4133': true,
  'uk.tcpip.msc4133.stable': true,
}

function featuresOf({
  rendezvous,
  delayMaxMs = 0,
}: Pick<ClientApiNeeds['config'], 'rendezvous' | 'delayMaxMs'>) {
  const offered = rendezvous !== 'off'
  return {
    'io.element.msc4388': offered,
    ...unstable_features,
    'org.matrix.msc4108': offered,
    'org.matrix.msc4140': delayMaxMs > 0,
  }
}

/** {@link https://spec.matrix.org/v1.19/client-server-api/#capabilities-negotiation} */
function capabilitiesOf(
  { defaultRoomVersion, loginTokens = false }: ClientApiNeeds['config'],
  mail: boolean,
): JsonObject {
  return {
    'm.change_password': { enabled: true },
    'm.room_versions': {
      default: defaultRoomVersion,
      available: {
        ...Object.fromEntries([...roomVersions.keys()].map((version) => [version, 'stable'])),
        ...Object.fromEntries([...unstableRoomVersions.keys()].map((name) => [name, 'unstable'])),
      },
    },
    'm.set_displayname': { enabled: true },
    'm.set_avatar_url': { enabled: true },
    'm.profile_fields': { enabled: true },
    'm.3pid_changes': { enabled: mail },
    'm.get_login_token': { enabled: loginTokens },
  }
}
