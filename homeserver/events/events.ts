import type { Pdu, StateKey } from '../../spec/events/event.ts'
import type { DeviceId, EventId, RoomId, ServerName, UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { EventJson } from '../ports.ts'
import type { Activity } from './activity.ts'
import type { Completion } from './completing.ts'
import type { PartialRooms } from './partial-rooms.ts'
import type { Purges } from './purges.ts'
import type { Relations } from './relations.ts'
import type { HistoryPoint, StateRoot, StoredEvent } from './stored-event.ts'

/** What `receive` made of a PDU. */
export type Receipt =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'known' }
  | { readonly kind: 'soft-failed'; readonly reason: string }
  | { readonly kind: 'rejected'; readonly reason: string }
  /** Nothing was stored: bad format, bad signature, unknown room, banned server. */
  | { readonly kind: 'dropped'; readonly reason: string }

/** What a local user wants in a room; the turn adds what the DAG needs. */
export interface LocalDraft {
  readonly type: string
  readonly stateKey?: string
  readonly sender: UserId
  readonly content: JsonObject
  readonly redacts?: EventId
  /** Milliseconds; now when absent. */
  readonly originServerTs?: number
}

/** The room as a turn sees it: everything accepted so far, also what is not yet committed. */
export interface TurnView {
  readonly room: RoomId
  readonly rules: RoomVersionRules
  /** Entry of the state that the next event is decided from. */
  state(type: string, stateKey: string): Promise<StoredEvent | undefined>
  /** User ids with a member event there (state keys of m.room.member). */
  members(): readonly UserId[]
}

/** What a decision inside a turn comes to: an event to append, or one that already says it (an idempotent request). */
export type TurnPlan =
  | { readonly kind: 'append'; readonly draft: LocalDraft }
  | { readonly kind: 'stay'; readonly event: StoredEvent }

/** Idempotency of a local write: the unique key, and the sending device's transaction shown in `unsigned`. */
export interface LocalTxn {
  readonly user: UserId
  readonly device: DeviceId
  readonly endpoint: string
  readonly txnId: string
}

/** The answer of a send_join, with our join. */
export interface JoinedRoom {
  readonly room: RoomId
  readonly rules: RoomVersionRules
  readonly join: Pdu
  readonly origin: ServerName
  /** State before the join. */
  readonly state: readonly EventJson[]
  readonly authChain: readonly EventJson[]
  /** Where the state lacks members: the servers that were in the room. */
  readonly partial?: { readonly servers: readonly ServerName[] }
}

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
  /** A snapshot of a room's state without the members, but for these. */
  sparseStateAt(
    room: RoomId,
    root: StateRoot,
    members: readonly string[],
  ): Promise<ReadonlyMap<StateKey, StoredEvent>>
  /** What differs from `from` to `to`: the entries of `to` that are new or other there. */
  stateDelta(from: StateRoot, to: StateRoot): Promise<readonly StoredEvent[]>
  /** Current state of a room: committed, as this process has seen it. Cached; do not modify. */
  currentState(room: RoomId): Promise<ReadonlyMap<StateKey, StoredEvent>>
  currentEntry(room: RoomId, type: string, stateKey: string): Promise<StoredEvent | undefined>
  /** Current state events of certain types, with an empty state key, of many rooms at once; not from what is cached of rooms. */
  currentOfRooms(
    rooms: readonly RoomId[],
    types: readonly string[],
  ): Promise<ReadonlyMap<RoomId, readonly StoredEvent[]>>
  /** The current state events of one type. */
  currentOfType(room: RoomId, type: string): Promise<readonly StoredEvent[]>
  /**
   * Live events of a room with after < position <= upTo, oldest first, the newest `limit` of them. None from before the
   * newest gap in the range: events are missing there, so it is `limited`, and `isAfterGap` when the gap set the bound.
   */
  timeline(
    room: RoomId,
    range: { after: number; upTo: number; limit: number },
  ): Promise<{ events: readonly StoredEvent[]; limited: boolean; isAfterGap?: boolean }>
  /** When something last happened in rooms that are here; at hand for those that were asked about before. */
  activity(rooms: readonly RoomId[]): Promise<ReadonlyMap<RoomId, Activity>>
  /** The newest live events of these rooms together that are before a position, newest first. */
  newest(
    rooms: readonly RoomId[],
    range: { before: number; limit: number },
  ): Promise<readonly StoredEvent[]>
  /** History order: up to `limit` events beyond `from` in the direction, accepted ones only. */
  history(
    room: RoomId,
    range: { from?: HistoryPoint; to?: HistoryPoint; dir: 'f' | 'b'; limit: number },
  ): Promise<readonly StoredEvent[]>
  /** The event of a room's history that was sent closest to a time; undefined when there is none in the direction. */
  closestTo(room: RoomId, query: ClosestQuery): Promise<StoredEvent | undefined>
  /** The history point just after everything with position <= `position`. */
  historyPointAt(room: RoomId, position: number): Promise<HistoryPoint>
  /** Forward extremities with the newest depth. */
  extremities(room: RoomId): Promise<{ readonly ids: readonly EventId[]; readonly depth: number }>
  /** Does what brings a room here; events that come for it in the meantime wait for the end of it. */
  entering<T>(room: RoomId, task: () => Promise<T>): Promise<T>
  /**
   * THE way in for a PDU of another server, whatever the route: format, hash, signatures, gaps, auth (three times),
   * state, persist. Order within a room is kept. Never throws for a bad event.
   */
  receive(
    origin: ServerName,
    room: RoomId,
    pdus: readonly JsonObject[],
    options?: {
      /** The events came in by a handshake with us (send_join and the like): we send them on. */
      readonly onBehalfOf?: ServerName
    },
  ): Promise<ReadonlyMap<EventId, Receipt>>
  /**
   * Takes over a room that this server has just joined: state, auth chain and join as the resident server gave them.
   * Every event is checked; what fails is left out. Resolves when the room can be used.
   */
  importRoom(joined: JoinedRoom): Promise<StoredEvent>
  /**
   * Checks an event of a room this server is not in (an invite, a knock, the leave that ends it) and makes the rows
   * that store it as an outlier, for the caller's log write.
   */
  outlier(
    pdu: Pdu,
    rules: RoomVersionRules,
  ): Promise<{
    readonly event: StoredEvent
    readonly tables: Readonly<Record<string, readonly JsonObject[]>>
  }>
  /** Fetches history before a point from other servers; resolves to the number of events that came. */
  backfill(room: RoomId, before: HistoryPoint, limit: number): Promise<number>
  /**
   * Appends one event by a local user. `plan` is called inside the room's turn (again on every retry) and must only
   * read; the event is built on the newest extremities, authorised, signed and durable when this resolves. Rejects
   * with M_FORBIDDEN and the rule when the auth rules refuse. A repeated `txn` answers the first event.
   */
  append(
    room: RoomId,
    plan: (view: TurnView) => Promise<TurnPlan> | TurnPlan,
    txn?: LocalTxn,
  ): Promise<StoredEvent>
  /** Makes a room with its first events in one write. `drafts` follow the create event; each is authorised on the one before. */
  createRoom(
    create: {
      version: string
      sender: UserId
      content: JsonObject
      /** The room's id, for versions in which it can be chosen; a new one when absent. */
      room?: RoomId
    },
    drafts: (room: RoomId) => readonly LocalDraft[],
  ): Promise<{ room: RoomId; events: readonly StoredEvent[] }>
  /**
   * Builds and authorises an event without storing it, for one that needs another server's signature first (a remote
   * invite); `commitPrepared` stores it as it came back.
   */
  prepare(room: RoomId, plan: (view: TurnView) => Promise<TurnPlan> | TurnPlan): Promise<Pdu>
  commitPrepared(pdu: Pdu): Promise<StoredEvent>
  /** Auth chain of events, without themselves, from what is stored. */
  authChain(ids: readonly EventId[]): Promise<readonly StoredEvent[]>
  /** May this server see the event (history visibility, membership of its users at the event). */
  serverMaySee(server: ServerName, event: StoredEvent): Promise<boolean>
  /** Keeps what `user` may see, in order; history visibility is decided here and nowhere else. */
  visibleTo(user: UserId, events: readonly StoredEvent[]): Promise<readonly Seen[]>
  /** Servers with a joined user, current. */
  serversIn(room: RoomId): Promise<ReadonlySet<ServerName>>
  /** Stored backwards of `latest`, not beyond `earliest`: answer of get_missing_events. */
  missingBetween(
    room: RoomId,
    earliest: readonly EventId[],
    latest: readonly EventId[],
    limit: number,
    minDepth: number,
  ): Promise<readonly StoredEvent[]>
  /** Breadth-first over prev_events from `from`, newest depth first: answer of /backfill. */
  backfillFrom(
    room: RoomId,
    from: readonly EventId[],
    limit: number,
  ): Promise<readonly StoredEvent[]>
  /** What relates to what. */
  readonly relations: Relations
  /** Rooms whose members are not all known yet. Whoever needs all members of a room asks here first. */
  readonly partial: PartialRooms
  /** Brings what is missing of such rooms. */
  readonly completion: Completion
  /** Taking history, or whole rooms, out of the database. */
  readonly purges: Purges
}

/** A search by time. */
export interface ClosestQuery {
  /** Milliseconds since the epoch. */
  readonly ts: number
  /** `f`: sent then or later; `b`: then or earlier. */
  readonly dir: 'f' | 'b'
  /** Keeps the events that may be found, in order. */
  readonly keep: (events: readonly StoredEvent[]) => Promise<readonly StoredEvent[]>
  /** Servers to ask where the history that is here may lack a closer one; without them nobody is asked. */
  readonly servers?: readonly ServerName[]
}

/** An event that somebody may see, with their membership when it was sent. */
export interface Seen {
  readonly event: StoredEvent
  /** `leave` when they had none. */
  readonly membership: string
  /** What relates to it, where an answer shows that. */
  readonly bundle?: Bundle
}

/** What relates to an event, as one viewer sees it. {@link https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events} */
export interface Bundle {
  readonly replace?: Seen
  readonly references?: readonly EventId[]
  readonly thread?: {
    readonly latest: Seen
    /** Events in the thread; not those of ignored users. */
    readonly count: number
    /** Did the viewer say something in it, or begin it. */
    readonly participated: boolean
  }
}

/** The payload of log rows of kind 'event'. */
export interface EventPayload {
  readonly event: StoredEvent
  /** Set when the event changed the room's current state. */
  readonly changesState: boolean
  /** Something right before the event is not here. */
  readonly isAfterGap?: boolean
  /** The event that this one, an accepted redaction, redacts. */
  readonly redacts?: EventId
  /**
   * A join, leave or knock of this other server's user that came in through us: we are the one who sends it to the
   * servers in the room, but not back to that server.
   */
  readonly onBehalfOf?: ServerName
  /** A join, leave or knock of ours that this other server took and sends to the room: we do not send it. */
  readonly deliveredBy?: ServerName
}
