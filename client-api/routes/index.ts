import type { ClientEndpointName } from '../../spec/api/index.ts'
import type { Interactive } from '../interactive-auth.ts'
import type { ClientApiNeeds } from '../needs.ts'
import type { Route } from '../router.ts'
import { accountRoutes } from './account.ts'
import { addressRoutes } from './addresses.ts'
import { adminRoutes } from './admin.ts'
import { federationAdminRoutes } from './admin-federation.ts'
import { roomAdminRoutes } from './admin-rooms.ts'
import { appserviceRoutes } from './appservices.ts'
import { callRoutes } from './calls.ts'
import { dehydratedDeviceRoutes } from './dehydrated-devices.ts'
import { delayRoutes } from './delays.ts'
import { deviceRoutes } from './devices.ts'
import { directoryRoutes } from './directory.ts'
import { encryptionRoutes } from './encryption.ts'
import { ephemeralRoutes } from './ephemeral.ts'
import { jumpRoutes } from './jump-to-date.ts'
import { keyBackupRoutes } from './key-backup.ts'
import { loginTokenRoutes } from './login-tokens.ts'
import { mediaRoutes } from './media.ts'
import { messageSearchRoutes } from './message-search.ts'
import { miscRoutes } from './misc.ts'
import { moderationRoutes } from './moderation.ts'
import { mutualRoomRoutes } from './mutual-rooms.ts'
import { noticeRoutes } from './notices.ts'
import { oldSyncRoutes } from './old-sync.ts'
import { openidRoutes } from './openid.ts'
import { pushRoutes } from './push.ts'
import { readingRoutes } from './reading.ts'
import { relationRoutes } from './relations.ts'
import { rendezvousRoutes } from './rendezvous.ts'
import { textRendezvousRoutes } from './rendezvous-etag.ts'
import { reportRoutes } from './reports.ts'
import { roomRoutes } from './rooms.ts'
import { searchRoutes } from './search.ts'
import { sendingRoutes } from './sending.ts'
import { sessionRoutes } from './session.ts'
import { slidingSyncRoutes } from './sliding-sync.ts'
import { spaceRoutes } from './spaces.ts'
import { syncRoutes } from './sync.ts'
import { thirdPartyRoutes } from './third-party.ts'
import { threadRoutes } from './threads.ts'
import { userDataRoutes } from './user-data.ts'

export type RouteNeeds = ClientApiNeeds & {
  readonly interactive: Interactive
  readonly takeBudget: (limit: 'login', key: string) => void
}

/** Every route, in the order of the specification. */
export function createRoutes(needs: RouteNeeds): readonly Route[] {
  return checkComplete([
    ...miscRoutes(needs),
    ...sessionRoutes(needs),
    ...loginTokenRoutes(needs),
    ...accountRoutes(needs),
    ...addressRoutes(needs),
    ...syncRoutes(needs),
    ...slidingSyncRoutes(needs),
    ...oldSyncRoutes(needs),
    ...readingRoutes(needs),
    ...relationRoutes(needs),
    ...jumpRoutes(needs),
    ...sendingRoutes(needs),
    ...delayRoutes(needs),
    ...reportRoutes(needs),
    ...roomRoutes(needs),
    ...directoryRoutes(needs),
    ...spaceRoutes(needs),
    ...searchRoutes(needs),
    ...messageSearchRoutes(needs),
    ...mutualRoomRoutes(needs),
    ...userDataRoutes(needs),
    ...openidRoutes(needs),
    ...deviceRoutes(needs),
    ...encryptionRoutes(needs),
    ...keyBackupRoutes(needs),
    ...dehydratedDeviceRoutes(needs),
    ...rendezvousRoutes(needs),
    ...textRendezvousRoutes(needs),
    ...ephemeralRoutes(needs),
    ...pushRoutes(needs),
    ...threadRoutes(needs),
    ...mediaRoutes(needs),
    ...adminRoutes(needs),
    ...moderationRoutes(needs),
    ...federationAdminRoutes(needs),
    ...roomAdminRoutes(needs),
    ...noticeRoutes(needs),
    ...appserviceRoutes(needs),
    ...callRoutes(needs),
    ...thirdPartyRoutes(needs),
  ])
}

/** Does not compile when an endpoint is declared and not served: its name is then in the error. */
function checkComplete<N extends string>(
  routes: readonly Route<N>[] & Missing<Exclude<ClientEndpointName, N>>,
): readonly Route[] {
  return routes
}

type Missing<N> = [N] extends [never] ? unknown : { readonly 'not served': N }
