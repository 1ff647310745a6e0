/** What asks other servers, built in order; the engine gets `remote` and `keys` of it through its ports. */
import { Resolver } from 'node:dns/promises'
import type { Database } from '../homeserver/database/database.ts'
import type { RetrySettings } from '../homeserver/destinations/backoff.ts'
import { createDestinations, type Destinations } from '../homeserver/destinations/destinations.ts'
import {
  createRemoteKeys,
  type KeysOfServer,
  type RemoteKeys,
} from '../homeserver/keys/remote-keys.ts'
import type { Clock } from '../homeserver/platform/clock.ts'
import {
  createGuardedDispatcher,
  type GuardedDispatcher,
} from '../homeserver/platform/guarded-dispatcher.ts'
import { guardedGet } from '../homeserver/platform/guarded-request.ts'
import type { Logger } from '../homeserver/platform/log.ts'
import type { Identity, PushGateways, Remote, RemoteMedia } from '../homeserver/ports.ts'
import type { SigningKey } from '../spec/crypto/ed25519.ts'
import type { ServerName } from '../spec/ids.ts'
import { createDiscovery } from './discovery.ts'
import { createIdentity } from './identity.ts'
import { createKeyRing, type FetchingKeyRing } from './key-ring.ts'
import { createPeering, type Peering, type PeeringSettings } from './peering.ts'
import { createPushGateways } from './push-gateways.ts'
import { createRemote } from './remote.ts'
import { createRemoteMedia } from './remote-media.ts'
import { createFederationClient, type FederationClient } from './request.ts'

export interface OutboundSettings {
  readonly serverName: ServerName
  readonly key: SigningKey
  /** Keys that we used before, by key id. */
  readonly oldKeys?: KeysOfServer
  /** Networks (CIDR) that requests to other servers may reach though they are not public. */
  readonly allowedNetworks: readonly string[]
  /** Certificates (PEM) of authorities trusted beside the usual ones. */
  readonly authorities?: readonly string[]
  readonly notaries?: readonly ServerName[]
  /** With whom this server talks. */
  readonly peering: PeeringSettings
  /** Pauses before a server that did not answer is tried again. */
  readonly retry?: RetrySettings
}

export interface Outbound extends AsyncDisposable {
  readonly peering: Peering
  readonly destinations: Destinations
  readonly client: FederationClient
  readonly keys: FetchingKeyRing
  readonly remote: Remote
  readonly identity: Identity
  readonly remoteMedia: RemoteMedia
  readonly pushGateways: PushGateways
  readonly store: RemoteKeys
  /** Our own keys by key id, old ones too. */
  readonly own: KeysOfServer
  /** For everything else that goes to addresses of others' choosing. */
  readonly dispatcher: GuardedDispatcher
}

const wellKnownTimeoutMs = 10_000
const wellKnownBytesMax = 50 * 1024
const redirectsMax = 5
const dnsTimeoutMs = 3_000

export async function createOutbound(needs: {
  readonly settings: OutboundSettings
  readonly db: Database
  readonly clock: Clock
  readonly log: Logger
}): Promise<Outbound> {
  const { settings, db, clock, log } = needs
  const { serverName, key, notaries } = settings
  const dispatcher = createGuardedDispatcher(settings)
  const resolver = new Resolver({ timeout: dnsTimeoutMs, tries: 2 })
  const discovery = createDiscovery({
    clock,
    redirect: dispatcher.redirect,
    resolveSrv: (name) => resolver.resolveSrv(name),
    fetchWellKnown: (host) =>
      guardedGet(dispatcher.agent, {
        url: new URL(`https://${host}/.well-known/matrix/server`),
        timeoutMs: wellKnownTimeoutMs,
        replyBytesMax: wellKnownBytesMax,
        redirectsMax,
      }),
  })
  const peering = createPeering(settings.peering)
  const destinations = await createDestinations({ db, clock, log, retry: settings.retry })
  const client = createFederationClient({
    serverName,
    key,
    dispatcher: dispatcher.agent,
    discovery,
    peering,
    backoff: destinations.backoff,
    clock,
  })
  const store = createRemoteKeys({ db })
  const current = { publicKey: key.publicKey, validUntil: Number.MAX_SAFE_INTEGER }
  const own: KeysOfServer = new Map([...(settings.oldKeys ?? []), [key.keyId, current]])
  const pushGateways = createPushGateways({ ...settings, dispatcher })
  const ring = { serverName, own, store, client, clock, log, ...(notaries && { notaries }) }
  return {
    peering,
    destinations,
    client,
    keys: createKeyRing(ring),
    remote: createRemote({ client }),
    remoteMedia: createRemoteMedia({ client, dispatcher: dispatcher.agent }),
    identity: createIdentity({ dispatcher: dispatcher.agent, serverName, key }),
    pushGateways,
    store,
    own,
    dispatcher,
    async [Symbol.asyncDispose]() {
      resolver.cancel()
      await destinations[Symbol.asyncDispose]()
      await pushGateways[Symbol.asyncDispose]()
      await dispatcher[Symbol.asyncDispose]()
    },
  }
}
