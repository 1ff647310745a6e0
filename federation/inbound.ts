/** What answers other servers, built in order from the slices it asks. */
import type { RequestListener } from 'node:http'
import type { Clock } from '../homeserver/platform/clock.ts'
import type { Logger } from '../homeserver/platform/log.ts'
import type { RemoteMembership } from '../homeserver/rooms/remote-membership.ts'
import type { Rooms } from '../homeserver/rooms/rooms.ts'
import type { SigningKey } from '../spec/crypto/ed25519.ts'
import type { ServerName, UserId } from '../spec/ids.ts'
import type { JsonObject } from '../spec/json.ts'
import { createAccess, type EventsForAccess } from './access.ts'
import { createBudget } from './budget.ts'
import { createEdus, type EduHandlers } from './edus.ts'
import type { Outbound } from './outbound.ts'
import { type EventsForRoutes, eventRoutes } from './routes/events.ts'
import { keyRoutes } from './routes/keys.ts'
import { membershipRoutes } from './routes/membership.ts'
import { type LocalKeys, queryRoutes } from './routes/queries.ts'
import { transactionRoutes } from './routes/transactions.ts'
import { createFederationApi, type FederationLimits } from './server.ts'
import { badEventsLimits, createTransactions, type EventsForTransactions } from './transaction.ts'

export interface InboundNeeds {
  readonly serverName: ServerName
  readonly key: SigningKey
  /** Of this program, as /version says it. */
  readonly version: string
  readonly limits: FederationLimits
  readonly isTrustedProxy: (address: string) => boolean
  readonly outbound: Outbound
  readonly events: EventsForAccess & EventsForRoutes & EventsForTransactions
  readonly rooms: Pick<Rooms, 'resolveAlias' | 'publicRooms'>
  readonly membership: RemoteMembership
  readonly profiles: { get(user: UserId): Promise<JsonObject> }
  readonly encryption: LocalKeys
  readonly edus: EduHandlers
  readonly clock: Clock
  readonly log: Logger
}

/** Answers the listener of the federation API. */
export function createInbound(needs: InboundNeeds): RequestListener {
  const { outbound, events, clock, log, serverName, key } = needs
  const access = createAccess({ events })
  const edus = createEdus({ handlers: needs.edus, access, log })
  const inbound = outbound.destinations.inbound
  const { membership } = needs
  const badEvents = createBudget(badEventsLimits, clock)
  const transactions = createTransactions({ ...needs, access, edus, inbound, badEvents })
  const routes = [
    ...transactionRoutes({ transactions }),
    ...eventRoutes({ serverName, events, access, clock }),
    ...membershipRoutes({ serverName, access, membership }),
    ...queryRoutes({ ...needs, keys: needs.encryption }),
    ...keyRoutes({ ...outbound, serverName, key, clock }),
  ]
  const { keys, peering } = outbound
  const { backoff } = outbound.destinations
  const api = createFederationApi({ ...needs, keys, peering, backoff, badEvents, routes })
  return api.callback()
}
