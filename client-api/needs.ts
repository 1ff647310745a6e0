import type { AccountData } from '../homeserver/accounts/account-data.ts'
import type { Accounts } from '../homeserver/accounts/accounts.ts'
import type { Addresses } from '../homeserver/accounts/addresses.ts'
import type { InteractiveAuth } from '../homeserver/accounts/interactive-auth.ts'
import type { LoginTokens } from '../homeserver/accounts/login-tokens.ts'
import type { Openid } from '../homeserver/accounts/openid.ts'
import type { Profiles } from '../homeserver/accounts/profiles.ts'
import type { Sessions } from '../homeserver/accounts/sessions.ts'
import type { Telling } from '../homeserver/appservices/telling.ts'
import type { ThirdPartyNetworks } from '../homeserver/appservices/third-party.ts'
import type { Config } from '../homeserver/config.ts'
import type { Delays } from '../homeserver/delays/delays.ts'
import type { Administration } from '../homeserver/destinations/administration.ts'
import type { DehydratedDevices } from '../homeserver/encryption/dehydrated-devices.ts'
import type { Encryption } from '../homeserver/encryption/encryption.ts'
import type { KeyBackup } from '../homeserver/encryption/key-backup.ts'
import type { Rendezvous } from '../homeserver/encryption/rendezvous.ts'
import type { ToDevice } from '../homeserver/encryption/to-device.ts'
import type { Purges } from '../homeserver/events/purges.ts'
import type { Media } from '../homeserver/media/media.ts'
import type { Previews } from '../homeserver/media/previews.ts'
import type { Notices } from '../homeserver/notices/notices.ts'
import type { Notifications } from '../homeserver/notifications/notifications.ts'
import type { ThreadSubscriptions } from '../homeserver/notifications/thread-subscriptions.ts'
import type { Clock } from '../homeserver/platform/clock.ts'
import type { Logger } from '../homeserver/platform/log.ts'
import type { Random } from '../homeserver/platform/random.ts'
import type { Remote } from '../homeserver/ports.ts'
import type { Presence } from '../homeserver/presence/presence.ts'
import type { Receipts } from '../homeserver/receipts/receipts.ts'
import type { Typing } from '../homeserver/receipts/typing.ts'
import type { RoomDeletions } from '../homeserver/rooms/deletion.ts'
import type { Spaces } from '../homeserver/rooms/hierarchy.ts'
import type { JumpToDate } from '../homeserver/rooms/jump-to-date.ts'
import type { Related } from '../homeserver/rooms/related.ts'
import type { Reports } from '../homeserver/rooms/reports.ts'
import type { Memberships, Requester, Rooms } from '../homeserver/rooms/rooms.ts'
import type { Search } from '../homeserver/search/search.ts'
import type { OldSync } from '../homeserver/sync/old-sync.ts'
import type { SlidingRequest } from '../homeserver/sync/sliding/request.ts'
import type { AppserviceAccounts } from './authenticate.ts'

/** The settings that matter at this border. */
export interface ClientApiConfig
  extends Pick<
    Config,
    | 'serverName'
    | 'publicBaseUrl'
    | 'registration'
    | 'registrationSharedSecret'
    | 'guests'
    | 'rendezvous'
    | 'presence'
    | 'rateLimits'
    | 'defaultRoomVersion'
    | 'bodySizeBytes'
    | 'jsonDepth'
    | 'syncTimeoutMs'
    | 'trustedProxies'
  > {
  /** Whether a new account needs a mail address. */
  readonly registrationNeedsAddress?: boolean
  /** Whether who is signed in may let another device in by a token. */
  readonly loginTokens?: boolean
  /** What opens registration when it takes tokens. */
  readonly registrationTokens?: readonly string[]
  /** Host and port for other servers, when they are not where the server name says. */
  readonly federationAddress?: string
  /** Longest delay of an event that is sent later, in ms; none when absent or 0. */
  readonly delayMaxMs?: number
  /** TURN servers, what is shared with them, and how long credentials hold. */
  readonly turnUris?: readonly string[]
  readonly turnSharedSecret?: string
  readonly turnLifetimeMs?: number
  /** Services that carry calls of several people. */
  readonly livekitUrls?: readonly string[]
  /** Public ed25519 key of the policy server of this name; there is none when empty. */
  readonly policyServerKey?: string
  /** Mail address of whoever runs the server. */
  readonly adminContact?: string
}

/** What the client API is composed of. */
export interface ClientApiNeeds {
  readonly config: ClientApiConfig
  readonly log: Logger
  readonly clock: Clock
  readonly random: Random
  readonly accounts: Accounts
  readonly addresses: Addresses
  readonly sessions: Sessions
  readonly interactiveAuth: InteractiveAuth
  readonly profiles: Profiles
  readonly accountData: AccountData
  readonly encryption: Encryption
  readonly toDevice: ToDevice
  readonly keyBackup: KeyBackup
  readonly dehydratedDevices: DehydratedDevices
  readonly rendezvous: Rendezvous
  readonly receipts: Receipts
  readonly typing: Typing
  readonly presence: Presence
  readonly notifications: Pick<Notifications, 'rules' | 'pushers' | 'notified'>
  readonly threadSubscriptions: ThreadSubscriptions
  readonly delays: Delays
  readonly notices: Notices
  readonly telling: Pick<Telling, 'ping'>
  readonly networks: ThirdPartyNetworks
  readonly rooms: Rooms & JumpToDate & Related
  readonly spaces: Spaces
  readonly search: Pick<Search, 'messages' | 'people'>
  readonly openid: Openid
  readonly loginTokens: LoginTokens
  readonly media: Media
  readonly previews: Pick<Previews, 'of'>
  readonly memberships: Memberships
  readonly remote: Pick<Remote, 'publicRooms'>
  readonly destinations: Administration
  readonly purges: Purges
  readonly deletions: RoomDeletions
  readonly reports: Reports
  readonly sync: Sync
  readonly oldSync: OldSync
  /** Version of this software. */
  readonly version: string
  readonly appservices?: AppserviceAccounts
  /** Aborted when this process begins to stop: waiting requests are answered then. */
  readonly stopping?: AbortSignal
}

/** GET /sync as the sync slice takes it. */
export interface Sync {
  /** The answer as JSON text, whole or in pieces; resolves early when the signal is aborted. */
  sync(
    who: Requester,
    request: SyncRequest,
    signal: AbortSignal,
  ): Promise<string | AsyncIterable<string>>
  /** POST /v4/sync, and what it was before; the same. */
  slidingSync(who: Requester, request: SlidingRequest, signal: AbortSignal): Promise<string>
}

export interface SyncRequest {
  /** Id of a stored filter, or a filter as JSON text. */
  readonly filter?: string
  readonly since?: string
  readonly fullState: boolean
  readonly setPresence: 'offline' | 'online' | 'unavailable'
  readonly timeoutMs: number
  readonly useStateAfter: boolean
}
