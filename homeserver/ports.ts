/**
 * What the engine asks of the outside. The composition root fills these; the engine never imports HTTP code.
 */
import type { EventId, RoomAlias, RoomId, ServerName, UserId } from '../spec/ids.ts'
import type { JsonObject } from '../spec/json.ts'

/** Remote homeservers, one method per question. Each rejects with MatrixError when the server refuses or is silent. */
export interface Remote {
  makeJoin(
    server: ServerName,
    room: RoomId,
    user: UserId,
    versions: readonly string[],
  ): Promise<{ room_version?: string; event: JsonObject }>
  sendJoin(
    server: ServerName,
    room: RoomId,
    eventId: EventId,
    event: JsonObject,
    options?: { readonly omitMembers: boolean },
  ): Promise<SendJoinAnswer>
  makeLeave(
    server: ServerName,
    room: RoomId,
    user: UserId,
  ): Promise<{ room_version?: string; event: JsonObject }>
  sendLeave(server: ServerName, room: RoomId, eventId: EventId, event: JsonObject): Promise<void>
  makeKnock(
    server: ServerName,
    room: RoomId,
    user: UserId,
    versions: readonly string[],
  ): Promise<{ room_version?: string; event: JsonObject }>
  sendKnock(
    server: ServerName,
    room: RoomId,
    eventId: EventId,
    event: JsonObject,
  ): Promise<{ knock_room_state: readonly JsonObject[] }>
  /** v2 with a fall-back to v1 for room versions 1 and 2; answers the event with the invited server's signature. */
  invite(
    server: ServerName,
    room: RoomId,
    eventId: EventId,
    body: { room_version: string; event: JsonObject; invite_room_state: readonly JsonObject[] },
  ): Promise<JsonObject>
  getEvent(server: ServerName, eventId: EventId): Promise<JsonObject>
  stateIds(
    server: ServerName,
    room: RoomId,
    eventId: EventId,
  ): Promise<{ pdu_ids: readonly EventId[]; auth_chain_ids: readonly EventId[] }>
  state(
    server: ServerName,
    room: RoomId,
    eventId: EventId,
  ): Promise<{ pdus: readonly JsonObject[]; auth_chain: readonly JsonObject[] }>
  eventAuth(server: ServerName, room: RoomId, eventId: EventId): Promise<readonly JsonObject[]>
  missingEvents(
    server: ServerName,
    room: RoomId,
    query: {
      earliest: readonly EventId[]
      latest: readonly EventId[]
      limit: number
      minDepth: number
    },
  ): Promise<readonly JsonObject[]>
  backfill(
    server: ServerName,
    room: RoomId,
    from: readonly EventId[],
    limit: number,
  ): Promise<readonly JsonObject[]>
  resolveAlias(
    server: ServerName,
    alias: RoomAlias,
  ): Promise<{ room_id: RoomId; servers: readonly ServerName[] }>
  profile(server: ServerName, user: UserId, field?: string): Promise<JsonObject>
  publicRooms(server: ServerName, body: JsonObject): Promise<JsonObject>
  queryKeys(server: ServerName, deviceKeys: JsonObject): Promise<JsonObject>
  claimKeys(server: ServerName, oneTimeKeys: JsonObject): Promise<JsonObject>
  userDevices(server: ServerName, user: UserId): Promise<JsonObject>
  timestampToEvent(
    server: ServerName,
    room: RoomId,
    ts: number,
    dir: 'f' | 'b',
  ): Promise<{ event_id: EventId; origin_server_ts: number }>
  /** Asks a policy server for its signature; answers signatures by server and key. `isAwaited`: a client waits. */
  policySign(
    server: ServerName,
    event: JsonObject,
    options: { readonly isAwaited: boolean },
  ): Promise<JsonObject>
  /** Asks the inviter's server to make a third-party invite one of a user of ours. */
  exchangeThirdPartyInvite(server: ServerName, room: RoomId, event: JsonObject): Promise<void>
  hierarchy(server: ServerName, room: RoomId, suggestedOnly: boolean): Promise<JsonObject>
}

/** An event as another server sent it: parsed, or its JSON text, which weighs less while there are very many. */
export type EventJson = JsonObject | string

/** Answer of send_join v2. `origin`'s own signature on the event is in `event` when the join is restricted. */
export interface SendJoinAnswer {
  readonly event?: JsonObject
  readonly state: readonly EventJson[]
  readonly auth_chain: readonly EventJson[]
  /** The state lacks members; then the servers are named. */
  readonly members_omitted?: boolean
  readonly servers_in_room?: readonly ServerName[]
}

/** Verify keys of servers, ours and others. */
export interface KeyRing {
  /** The public key (raw 32 bytes, unpadded base64) valid at `validAt`, fetched when unknown; undefined when it cannot be had. */
  verifyKey(server: ServerName, keyId: string, validAt: number): Promise<string | undefined>
}

/** An identity server and the token with which a user of ours may ask it. */
export interface IdentityServer {
  readonly name: string
  readonly accessToken: string
}

/** Who knows to whom addresses belong. */
export interface Identity {
  /** The user who has bound the address. @throws MatrixError when the server does not say */
  lookUp(
    server: IdentityServer,
    of: { readonly medium: string; readonly address: string },
  ): Promise<UserId | undefined>
  /** Keeps an invite for whoever binds the address. @throws MatrixError when the server does not */
  storeInvite(
    server: IdentityServer,
    invite: JsonObject,
  ): Promise<{
    readonly token: string
    readonly displayName: string
    readonly keys: readonly { readonly publicKey: string; readonly validityUrl: string }[]
  }>
  /** Binds an address that a session there has validated. @throws MatrixError when the server does not */
  bind(
    server: IdentityServer,
    user: UserId,
    session: { readonly sid: string; readonly clientSecret: string },
  ): Promise<{ readonly medium: string; readonly address: string }>
  /** Has a server forget an address; false when it does not. */
  unbind(
    server: ServerName,
    of: { readonly user: UserId; readonly medium: string; readonly address: string },
  ): Promise<boolean>
  /** Does a key still hold; false also when nobody answers. */
  isKeyValid(validityUrl: string, publicKey: string): Promise<boolean>
}

/** Files of other servers. */
export interface RemoteMedia {
  /**
   * A file as its server sends it. `timeoutMs` is how long that server may wait for bytes that are still to come.
   * @throws MatrixError M_NOT_FOUND and other refusals, M_TOO_LARGE (502) beyond `sizeMax` bytes, M_CONNECTION_FAILED; the bytes too
   */
  fetch(
    server: ServerName,
    mediaId: string,
    options: { readonly timeoutMs: number; readonly sizeMax: number },
  ): Promise<{
    readonly contentType: string
    readonly fileName: string | undefined
    readonly content: AsyncIterable<Uint8Array>
  }>
}

/** Where notifications go that are to reach a device. */
export interface PushGateways {
  /** Is this an address that notifications may be sent to, as far as one can tell without asking. */
  accepts(url: string): boolean
  /** Answers the push keys that are no longer valid. @throws Error when the gateway does not take the notification */
  notify(url: string, notification: JsonObject, signal?: AbortSignal): Promise<readonly string[]>
}

/** Calls the process that owns a room; declared here, filled by the internal listener. */
export interface Peers {
  call(address: string, method: string, body: JsonObject): Promise<JsonObject>
}
