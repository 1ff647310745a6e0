/** The rooms slice, built in order from its parts. */
import type { SigningKey } from '../../spec/crypto/ed25519.ts'
import type { RoomAlias, RoomId, ServerName, UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { defaultRoomVersion as versionDefault } from '../../spec/room/version.ts'
import type { Database } from '../database/database.ts'
import type { Events, Seen } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Random } from '../platform/random.ts'
import type { Identity, KeyRing, Remote } from '../ports.ts'
import type { LogWriter, Tail } from '../stream/log.ts'
import type { AllRooms } from './all-rooms.ts'
import { createBundles } from './bundles.ts'
import { createClientEvents } from './client-event.ts'
import { createRoomMaking } from './create.ts'
import { createDirectory } from './directory.ts'
import { evictGuests } from './guest-eviction.ts'
import { createHandshakes } from './handshakes.ts'
import { createSpaces, type Spaces } from './hierarchy.ts'
import { createHistoryWalk } from './history-walk.ts'
import { createJumpToDate, type JumpToDate } from './jump-to-date.ts'
import { createMembershipChanges } from './membership.ts'
import { createPages } from './pages.ts'
import { createPublicRooms } from './public-rooms.ts'
import { createReading } from './reading.ts'
import { createRelated, type Related } from './related.ts'
import type { Memberships, Rooms } from './rooms.ts'
import { followUpgrades } from './successor.ts'
import { createSummaries } from './summary.ts'
import { createThirdParty, type ThirdPartyExchange } from './third-party.ts'
import { createUpgrading } from './upgrade.ts'
import { createViewing } from './viewing.ts'
import type { InvitePermissionOf } from './wanted-invites.ts'
import { createWriting } from './writing.ts'

export interface RoomsNeeds {
  readonly serverName: ServerName
  readonly key: SigningKey
  readonly keys: KeyRing
  readonly db: Database
  readonly clock: Clock
  readonly random: Random
  readonly log: Pick<LogWriter, 'write'>
  readonly tail: Pick<Tail, 'subscribe'>
  readonly events: Events
  readonly memberships: Memberships
  readonly remote: Remote
  /** Name and avatar of a local user; empty when there are none. */
  readonly profileOf: (user: UserId) => Promise<JsonObject>
  readonly defaultRoomVersion?: string
  /** Ask for rooms of others without their members, which come later. */
  readonly fasterJoins?: boolean
  /** Nobody is asked to whom addresses belong when absent. */
  readonly identity?: Identity
  /** Copies what a user has set for one room to another; may be done again. */
  readonly carrySettings?: (user: UserId, from: RoomId, to: RoomId) => Promise<void>
  /** Is this the process that looks after a room; true where there is only one. */
  readonly owns?: (room: RoomId) => boolean
  /** Id of the application service in whose exclusive namespace an alias is. */
  readonly aliasOwner?: (alias: RoomAlias) => string | undefined
  /** Asks whoever may make an alias that is not there; true when it is there now. */
  readonly makesAlias?: (alias: RoomAlias) => Promise<boolean>
  readonly logger?: Logger
  /** Whom a user ignores; nobody does when absent. */
  readonly ignoredUsers?: (user: UserId) => Promise<ReadonlySet<UserId>>
  /** Everybody lets themselves be invited when absent. */
  readonly invitePermission?: InvitePermissionOf
  /** Who sends the server's notices. */
  readonly noticesUser?: UserId
}

/** Rooms as the engine's other slices have them. */
export interface EngineRooms extends Rooms, AllRooms, JumpToDate, Related, ThirdPartyExchange {
  readonly spaces: Spaces
  /** Carries a changed name or avatar into one room; nothing where the user is not in the room any more. */
  renew(room: RoomId, user: UserId, profile: JsonObject): Promise<void>
  /** Gets at hand what `clientEvent` needs to show these at once: redactions, and rules of their rooms. */
  preload(events: readonly (StoredEvent | Seen)[]): Promise<void>
}

/** Builds the slice; before the tail starts. */
export function createRooms(needs: RoomsNeeds): EngineRooms {
  const { defaultRoomVersion = versionDefault } = needs
  const clientEvents = createClientEvents(needs)
  const directory = createDirectory(needs)
  const { resolveAlias, roomOf: roomOfAlias, book: aliases, moveNames, ...aliasing } = directory
  const handshakes = createHandshakes(needs)
  const changes = createMembershipChanges({ ...needs, handshakes, resolveAlias })
  const viewing = createViewing(needs)
  const history = createHistoryWalk(needs)
  const bundles = createBundles(needs)
  const reading = { ...needs, viewing, clientEvents, history, bundles }
  const summaries = createSummaries(needs)
  const { put: _, leaveRoom: __, inviteWith: ___, ...membership } = changes
  evictGuests({ ...needs, changes })
  const { carrySettings, owns = () => true } = needs
  if (carrySettings !== undefined) followUpgrades({ ...needs, carrySettings, owns })
  return {
    ...createRoomMaking({ ...needs, defaultRoomVersion, changes, aliases }),
    ...createUpgrading({ ...needs, moveNames }),
    ...createWriting({ ...needs, changes, roomOfAlias }),
    ...membership,
    ...createThirdParty({ ...needs, changes, invite: changes.invite }),
    ...createReading(reading),
    ...createPages(reading),
    ...createRelated(reading),
    ...createPublicRooms({ ...needs, summaries }),
    ...createJumpToDate(reading),
    spaces: createSpaces({ ...needs, summaries, resolveAlias }),
    ...aliasing,
    resolveAlias,
    clientEvent: (event, viewer, format) => clientEvents.text(event, viewer, format),
    preload: (events) => clientEvents.preload(events),
  }
}
