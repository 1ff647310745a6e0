/** What answers other servers, built in order from the slices it asks. */
import type { RequestListener } from 'node:http'
import type { Openid } from '../homeserver/accounts/openid.ts'
import type { Clock } from '../homeserver/platform/clock.ts'
import type { Logger } from '../homeserver/platform/log.ts'
import type { Random } from '../homeserver/platform/random.ts'
import type { Spaces } from '../homeserver/rooms/hierarchy.ts'
import type { RemoteMembership } from '../homeserver/rooms/remote-membership.ts'
import type { Rooms } from '../homeserver/rooms/rooms.ts'
import type { ThirdPartyExchange } from '../homeserver/rooms/third-party.ts'
import type { SigningKey } from '../spec/crypto/ed25519.ts'
import type { ServerName, UserId } from '../spec/ids.ts'
import type { JsonObject } from '../spec/json.ts'
import { createAccess, type EventsForAccess } from './access.ts'
import { createBudget } from './budget.ts'
import { createEdus, type EduHandlers } from './edus.ts'
import type { Outbound } from './outbound.ts'
import { type EventsForRoutes, eventRoutes } from './routes/events.ts'
import { keyRoutes } from './routes/keys.ts'
import { type LocalMedia, mediaRoutes, noMedia } from './routes/media.ts'
import { membershipRoutes } from './routes/membership.ts'
import { openidRoutes } from './routes/openid.ts'
import { type LocalKeys, queryRoutes } from './routes/queries.ts'
import { spaceRoutes } from './routes/spaces.ts'
import { transactionRoutes } from './routes/transactions.ts'
import { createFederationApi, type FederationLimits } from './server.ts'
import { badEventsLimits, createTransactions, type EventsForTransactions } from './transaction.ts'

export interface InboundNeeds {
  readonly serverName: ServerName
  readonly key: SigningKey
  /** Of this program, as /version says it. */
  readonly version: string
  /** Host and port for other servers, when they are not where the server name says. */
  readonly federationAddress?: string
  readonly limits: FederationLimits
  readonly isTrustedProxy: (address: string) => boolean
  readonly outbound: Outbound
  readonly events: EventsForAccess & EventsForRoutes & EventsForTransactions
  readonly rooms: Pick<Rooms, 'resolveAlias' | 'publicRooms'>
  readonly thirdParty: ThirdPartyExchange
  readonly spaces: Pick<Spaces, 'forServer'>
  readonly openid: Pick<Openid, 'userOf'>
  readonly membership: RemoteMembership
  readonly profiles: { get(user: UserId): Promise<JsonObject> }
  readonly encryption: LocalKeys
  readonly edus: EduHandlers
  /** Without it no media is there. */
  readonly media?: LocalMedia
  readonly clock: Clock
  readonly random: Pick<Random, 'text'>
  readonly log: Logger
}

/** Letters of the boundary between parts of an answer. */
const boundaryLength = 40

/** Answers the listener of the federation API. */
export function createInbound(needs: InboundNeeds): RequestListener {
  const { outbound, events, clock, log, serverName, key } = needs
  const access = createAccess({ events })
  const edus = createEdus({ handlers: needs.edus, access, clock, log })
  const inbound = outbound.destinations.inbound
  const badEvents = createBudget(badEventsLimits, clock)
  const transactions = createTransactions({ ...needs, access, edus, inbound, badEvents })
  const routes = [
    ...transactionRoutes({ transactions }),
    ...eventRoutes({ serverName, events, access, clock }),
    ...membershipRoutes({ ...needs, access }),
    ...queryRoutes({ ...needs, keys: needs.encryption }),
    ...spaceRoutes(needs),
    ...openidRoutes(needs),
    ...mediaRoutes({
      media: needs.media ?? noMedia,
      boundary: () => needs.random.text(boundaryLength),
    }),
    ...keyRoutes({ ...outbound, serverName, key, clock }),
  ]
  const { keys, peering } = outbound
  const { backoff } = outbound.destinations
  const api = createFederationApi({ ...needs, keys, peering, backoff, badEvents, routes })
  return api.callback()
}
