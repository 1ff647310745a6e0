import type { Pdu, StateKey } from '../../spec/events/event.ts'
import type { EventId, RoomId, ServerName, UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { HistoryPoint, StateRoot, StoredEvent } from './stored-event.ts'

/** What `receive` made of a PDU. */
export type Receipt =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'known' }
  | { readonly kind: 'soft-failed'; readonly reason: string }
  | { readonly kind: 'rejected'; readonly reason: string }
  /** Nothing was stored: bad format, bad signature, unknown room, banned server. */
  | { readonly kind: 'dropped'; readonly reason: string }

/** The events slice: what is stored, how events come in and what the state was. */
export interface Events {
  /** Stored events by id, outliers and rejected ones included. One query for what is not cached. */
  get(ids: readonly EventId[]): Promise<ReadonlyMap<EventId, StoredEvent>>
  byNumber(nrs: readonly number[]): Promise<ReadonlyMap<number, StoredEvent>>
  /** Rules of a room that this server knows; undefined when it does not. */
  rulesOf(room: RoomId): Promise<RoomVersionRules | undefined>
  /** One entry of a snapshot. */
  stateEntry(root: StateRoot, type: string, stateKey: string): Promise<StoredEvent | undefined>
  /** All of a snapshot. */
  stateAt(root: StateRoot): Promise<ReadonlyMap<StateKey, StoredEvent>>
  /** What differs from `from` to `to`: the entries of `to` that are new or other there. */
  stateDelta(from: StateRoot, to: StateRoot): Promise<readonly StoredEvent[]>
  /** Current state of a room: committed, as this process has seen it. Cached; do not modify. */
  currentState(room: RoomId): Promise<ReadonlyMap<StateKey, StoredEvent>>
  currentEntry(room: RoomId, type: string, stateKey: string): Promise<StoredEvent | undefined>
  /** Live events of a room with after < position <= upTo, oldest first, the newest `limit` of them. */
  timeline(room: RoomId, range: { after: number; upTo: number; limit: number }): Promise<{ events: readonly StoredEvent[]; limited: boolean }>
  /** History order: up to `limit` events beyond `from` in the direction, accepted ones only. */
  history(room: RoomId, range: { from?: HistoryPoint; to?: HistoryPoint; dir: 'f' | 'b'; limit: number }): Promise<readonly StoredEvent[]>
  /** The history point just after everything with position <= `position`. */
  historyPointAt(room: RoomId, position: number): Promise<HistoryPoint>
  /** Forward extremities with the newest depth. */
  extremities(room: RoomId): Promise<{ readonly ids: readonly EventId[]; readonly depth: number }>
  /**
   * THE way in for a PDU of another server, whatever the route: format, hash, signatures, gaps, auth (three times),
   * state, persist. Order within a room is kept. Never throws for a bad event.
   */
  receive(origin: ServerName, room: RoomId, pdus: readonly JsonObject[]): Promise<ReadonlyMap<EventId, Receipt>>
  /** Auth chain of events, without themselves, from what is stored. */
  authChain(ids: readonly EventId[]): Promise<readonly StoredEvent[]>
  /** May this server see the event (history visibility, membership of its users at the event). */
  serverMaySee(server: ServerName, event: StoredEvent): Promise<boolean>
  /** Keeps what `user` may see, in order; history visibility and ignored users are decided here and nowhere else. */
  visibleTo(user: UserId, events: readonly StoredEvent[]): Promise<readonly StoredEvent[]>
  /** Servers with a joined user, current. */
  serversIn(room: RoomId): Promise<ReadonlySet<ServerName>>
  /** Stored backwards of `latest`, not beyond `earliest`: answer of get_missing_events. */
  missingBetween(room: RoomId, earliest: readonly EventId[], latest: readonly EventId[], limit: number, minDepth: number): Promise<readonly StoredEvent[]>
  /** Breadth-first over prev_events from `from`, newest depth first: answer of /backfill. */
  backfillFrom(room: RoomId, from: readonly EventId[], limit: number): Promise<readonly StoredEvent[]>
}

/** The payload of log rows of kind 'event'. */
export interface EventPayload {
  readonly event: StoredEvent
  /** Set when the event changed the room's current state. */
  readonly changesState: boolean
  /** Events whose entry in current state this event replaced. */
  readonly replaces?: EventId
  /**
   * A join, leave or knock of this other server's user that came in through us: we are the one who sends it to the
   * servers in the room, but not back to that server.
   */
  readonly onBehalfOf?: ServerName
}

/** Used by tests and composition: the verdict of a room's auth rules for one event. */
export type { Pdu }
