import { createHmac } from 'node:crypto'
import type { Clock } from '../../homeserver/platform/clock.ts'
import * as api from '../../spec/api/client/calls.ts'
import type { UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { ClientApiConfig } from '../needs.ts'
import { route } from '../router.ts'

interface Needs {
  readonly config: Pick<
    ClientApiConfig,
    'turnUris' | 'turnSharedSecret' | 'turnLifetimeMs' | 'livekitUrls'
  >
  readonly clock: Pick<Clock, 'now'>
}

/** Servers through which calls go. */
export const callRoutes = ({ config, clock }: Needs) => [
  route(api.getTurnServer, (_, { user }) => turnAccess(config, user, clock.now())),
  route(api.getRtcTransports, () => ({ rtc_transports: transportsOf(config) })),
]

/** The operator's LiveKit servers as clients look for them. */
export function transportsOf({ livekitUrls = [] }: Pick<ClientApiConfig, 'livekitUrls'>) {
  return livekitUrls.map((url) => ({ type: 'livekit', livekit_service_url: url }))
}

/**
 * Credentials that the TURN server checks by the shared secret: until when they hold, and for whom.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver}
 */
function turnAccess(
  { turnUris = [], turnSharedSecret = '', turnLifetimeMs = 0 }: Needs['config'],
  user: UserId,
  now: number,
): JsonObject {
  if (turnUris.length === 0 || turnSharedSecret === '') return {}
  const username = `${Math.floor((now + turnLifetimeMs) / 1_000)}:${user}`
  return {
    username,
    password: createHmac('sha1', turnSharedSecret).update(username).digest('base64'),
    uris: turnUris,
    ttl: Math.floor(turnLifetimeMs / 1_000),
  }
}
