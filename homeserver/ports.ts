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
  hierarchy(server: ServerName, room: RoomId, suggestedOnly: boolean): Promise<JsonObject>
}

/** Answer of send_join v2. `origin`'s own signature on the event is in `event` when the join is restricted. */
export interface SendJoinAnswer {
  readonly event?: JsonObject
  readonly state: readonly EventJson[]
  readonly auth_chain: readonly EventJson[]
  readonly servers_in_room?: readonly ServerName[]
}

/** An event as another server sent it: parsed, or its JSON text, which weighs less while there are very many. */
export type EventJson = JsonObject | string

/** Verify keys of servers, ours and others. */
export interface KeyRing {
  /** The public key (raw 32 bytes, unpadded base64) valid at `validAt`, fetched when unknown; undefined when it cannot be had. */
  verifyKey(server: ServerName, keyId: string, validAt: number): Promise<string | undefined>
}

/** Calls the process that owns a room; declared here, filled by the internal listener. */
export interface Peers {
  call(address: string, method: string, body: JsonObject): Promise<JsonObject>
}
