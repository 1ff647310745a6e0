import type { DeviceId, EventId, RoomAlias, RoomId, ServerName, UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Seen } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { IdentityServer } from '../ports.ts'

/** Who asks: made by client-api/authenticate.ts from the token, passed to every slice. */
export interface Requester {
  readonly user: UserId
  readonly device?: DeviceId
  readonly guest: boolean
  readonly admin: boolean
  /** Id of the application service whose token this is. */
  readonly appservice?: string
  /** What an administrator has taken from the account for a while. */
  readonly restriction?: 'locked' | 'suspended'
}

export type Membership = 'join' | 'invite' | 'leave' | 'ban' | 'knock'

/** A user's current membership of a room, as syncs and checks read it. */
export interface MembershipRow {
  readonly room: RoomId
  readonly user: UserId
  readonly membership: Membership
  readonly eventId: EventId
  readonly sender: UserId
  /** Log position at which this membership (not only its profile) began. */
  readonly since: number
  /** Log position of the newest member event. */
  readonly position: number
  readonly displayName?: string
  readonly avatarUrl?: string
  readonly forgotten: boolean
}

/** An idempotency key of a client's request. */
export interface TxnKey {
  readonly device: DeviceId
  /** Endpoint and path parameters. */
  readonly endpoint: string
  readonly txnId: string
}

export interface Draft {
  readonly room: RoomId
  readonly type: string
  readonly stateKey?: string
  readonly content: JsonObject
  readonly redacts?: EventId
  readonly txn?: TxnKey
  /** Application services may choose it; milliseconds. */
  readonly originServerTs?: number
}

/** A page of history for a viewer; tokens are history tokens (spec/sync/token.ts). */
export interface Page {
  readonly start: string
  readonly end?: string
  readonly chunk: readonly Seen[]
  readonly state: readonly StoredEvent[]
}

/** Body of POST /createRoom after the border's schema. */
export interface CreateRoomRequest {
  readonly creationContent?: JsonObject
  readonly initialState?: readonly { type: string; stateKey?: string; content: JsonObject }[]
  readonly invite?: readonly UserId[]
  readonly isDirect?: boolean
  readonly name?: string
  readonly topic?: string
  readonly powerLevelContentOverride?: JsonObject
  readonly preset?: 'private_chat' | 'public_chat' | 'trusted_private_chat'
  readonly roomAliasName?: string
  readonly roomVersion?: string
  readonly visibility?: 'public' | 'private'
}

/** What is asked of the list of public rooms. */
export interface PublicRoomsQuery {
  readonly limit: number
  readonly since?: string
  /** Part of a name, a topic or an alias. */
  readonly term?: string
  /** Types of rooms; null is for those without a type. */
  readonly types?: readonly (string | null)[]
  /** The rooms of this network, `<service>|<network>`, instead of this server's. */
  readonly network?: string
  /** Those of this server and of all networks. */
  readonly everyNetwork?: boolean
  /** Another server asks, which learns nothing of rooms that it may not join. */
  readonly isRemote?: boolean
}

/** Body of POST /rooms/{roomId}/upgrade after the border's schema. */
export interface UpgradeRequest {
  readonly version: string
  /** Creators beside the requester; of no meaning where the version has none. */
  readonly additionalCreators?: readonly UserId[]
}

/** Whom an invite is for: `email` and an address, say; and who knows whose that is. */
export interface ThirdPartyInvite {
  readonly server: IdentityServer
  readonly medium: string
  readonly address: string
}

/** Everything clients do with rooms. Every method decides what the requester may do and throws MatrixError. */
export interface Rooms {
  create(who: Requester, request: CreateRoomRequest): Promise<RoomId>
  /** Replaces the room by one of another version and answers it. */
  upgrade(who: Requester, room: RoomId, request: UpgradeRequest): Promise<RoomId>
  /** Sends a message or state event (`stateKey` present). */
  send(who: Requester, draft: Draft): Promise<EventId>
  redact(
    who: Requester,
    room: RoomId,
    redacts: EventId,
    reason: string | undefined,
    txn?: TxnKey,
  ): Promise<EventId>
  join(
    who: Requester,
    target: RoomId | RoomAlias,
    options: { via: readonly ServerName[]; content?: JsonObject; reason?: string },
  ): Promise<RoomId>
  knock(
    who: Requester,
    target: RoomId | RoomAlias,
    options: { via: readonly ServerName[]; reason?: string },
  ): Promise<RoomId>
  leave(who: Requester, room: RoomId, reason?: string): Promise<void>
  invite(
    who: Requester,
    room: RoomId,
    user: UserId,
    options: { reason?: string; isDirect?: boolean },
  ): Promise<void>
  /** Invites whoever has an address. */
  inviteThirdParty(who: Requester, room: RoomId, invite: ThirdPartyInvite): Promise<void>
  /** Makes an invite of an address, which an identity server says is the requester's, one of the requester. */
  claimInvite(
    who: Requester,
    room: RoomId,
    claim: { readonly sender: UserId; readonly signed: JsonObject },
  ): Promise<void>
  kick(who: Requester, room: RoomId, user: UserId, reason?: string): Promise<void>
  ban(who: Requester, room: RoomId, user: UserId, reason?: string): Promise<void>
  unban(who: Requester, room: RoomId, user: UserId, reason?: string): Promise<void>
  forget(who: Requester, room: RoomId): Promise<void>

  /** Reading; a member sees the current state, one who left the state when they left. */
  event(who: Requester, room: RoomId, event: EventId): Promise<Seen>
  state(who: Requester, room: RoomId): Promise<readonly StoredEvent[]>
  stateEvent(who: Requester, room: RoomId, type: string, stateKey: string): Promise<StoredEvent>
  members(
    who: Requester,
    room: RoomId,
    filter: { at?: string; membership?: Membership; notMembership?: Membership },
  ): Promise<readonly StoredEvent[]>
  joinedMembers(who: Requester, room: RoomId): Promise<readonly MembershipRow[]>
  messages(
    who: Requester,
    room: RoomId,
    query: { from?: string; to?: string; dir: 'f' | 'b'; limit: number; filter?: JsonObject },
  ): Promise<Page>
  context(
    who: Requester,
    room: RoomId,
    event: EventId,
    limit: number,
    filter?: JsonObject,
  ): Promise<{
    event: Seen
    before: readonly Seen[]
    after: readonly Seen[]
    state: readonly StoredEvent[]
    start: string
    end: string
  }>

  /** Directory. */
  resolveAlias(alias: RoomAlias): Promise<{ room: RoomId; servers: readonly ServerName[] }>
  createAlias(who: Requester, alias: RoomAlias, room: RoomId): Promise<void>
  deleteAlias(who: Requester, alias: RoomAlias): Promise<void>
  aliasesOf(who: Requester, room: RoomId): Promise<readonly RoomAlias[]>
  visibility(room: RoomId): Promise<'public' | 'private'>
  setVisibility(who: Requester, room: RoomId, visibility: 'public' | 'private'): Promise<void>
  /** Lists a room among those of a network that the requester, an application service, bridges. */
  setNetworkVisibility(
    who: Requester,
    network: string,
    room: RoomId,
    visibility: 'public' | 'private',
  ): Promise<void>
  publicRooms(query: PublicRoomsQuery): Promise<JsonObject>

  /** Client form of events for a viewer, as JSON text: unsigned (age, transaction_id, redacted_because, prev_content, membership) is spliced in. */
  clientEvent(
    event: StoredEvent | Seen,
    viewer: { user: UserId; device?: DeviceId } | undefined,
    format?: 'client' | 'sync' | 'stripped',
  ): string
}

/** Memberships as sync, receipts, device lists and federation read them: cached, kept true by the tail. */
export interface Memberships {
  /** Every membership row of a user, forgotten ones included. */
  ofUser(user: UserId): Promise<ReadonlyMap<RoomId, MembershipRow>>
  /** Current rows of a room. */
  ofRoom(room: RoomId): Promise<ReadonlyMap<UserId, MembershipRow>>
  isJoined(user: UserId, room: RoomId): Promise<boolean>
  /** Users who share a joined room with `user`. */
  sharingWith(user: UserId): Promise<ReadonlySet<UserId>>
  /** Local users joined to the room. */
  localJoined(room: RoomId): Promise<readonly UserId[]>
  /** How many users are joined to the room, whatever their server. */
  joinedCount(room: RoomId): Promise<number>
}
