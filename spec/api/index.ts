import * as account from './client/account.ts'
import * as addresses from './client/addresses.ts'
import * as admin from './client/admin.ts'
import * as adminFederation from './client/admin-federation.ts'
import * as adminRooms from './client/admin-rooms.ts'
import * as appservices from './client/appservices.ts'
import * as calls from './client/calls.ts'
import * as dehydratedDevices from './client/dehydrated-devices.ts'
import * as delays from './client/delays.ts'
import * as directory from './client/directory.ts'
import * as encryption from './client/encryption.ts'
import * as ephemeral from './client/ephemeral.ts'
import * as jumpToDate from './client/jump-to-date.ts'
import * as keyBackup from './client/key-backup.ts'
import * as media from './client/media.ts'
import * as messageSearch from './client/message-search.ts'
import * as misc from './client/misc.ts'
import * as mutualRooms from './client/mutual-rooms.ts'
import * as notices from './client/notices.ts'
import * as oldSync from './client/old-sync.ts'
import * as openid from './client/openid.ts'
import * as push from './client/push.ts'
import * as reading from './client/reading.ts'
import * as relations from './client/relations.ts'
import * as rendezvous from './client/rendezvous.ts'
import * as textRendezvous from './client/rendezvous-etag.ts'
import * as reports from './client/reports.ts'
import * as rooms from './client/rooms.ts'
import * as search from './client/search.ts'
import * as sending from './client/sending.ts'
import * as session from './client/session.ts'
import * as slidingSync from './client/sliding-sync.ts'
import * as spaces from './client/spaces.ts'
import * as sync from './client/sync.ts'
import * as thirdParty from './client/third-party.ts'
import * as threads from './client/threads.ts'
import * as userData from './client/user-data.ts'

/** Modules of the client-server API, in the order of the specification. */
const modules = {
  ...misc,
  ...session,
  ...account,
  ...addresses,
  ...sync,
  ...slidingSync,
  ...oldSync,
  ...reading,
  ...relations,
  ...jumpToDate,
  ...sending,
  ...delays,
  ...reports,
  ...rooms,
  ...directory,
  ...spaces,
  ...search,
  ...messageSearch,
  ...mutualRooms,
  ...userData,
  ...openid,
  ...ephemeral,
  ...encryption,
  ...keyBackup,
  ...dehydratedDevices,
  ...rendezvous,
  ...textRendezvous,
  ...push,
  ...threads,
  ...media,
  ...admin,
  ...adminFederation,
  ...adminRooms,
  ...notices,
  ...appservices,
  ...calls,
  ...thirdParty,
}

/** What a module exports beside endpoints (shared pieces of schemas) is not one. */
type ClientEndpoint = Extract<(typeof modules)[keyof typeof modules], { readonly paths: unknown }>
/** Name of every endpoint of the client-server API that is declared. */
export type ClientEndpointName = ClientEndpoint['name']

/** Every endpoint of the client-server API that is declared. */
export const clientEndpoints: readonly ClientEndpoint[] = Object.values(modules).filter(isEndpoint)

function isEndpoint(exported: object): exported is ClientEndpoint {
  return 'paths' in exported
}
