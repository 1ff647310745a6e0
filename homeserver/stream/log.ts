import type { RoomId, UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'

/**
 * The one log: what a syncing client, a federation sender or a cache has to learn, in the order in which it became
 * durable. Positions rise, may have gaps, and no row ever appears at or below a position that somebody could have read.
 */

/** A position in the log; 0 is before everything. */
export type Position = number

/** Kinds of log rows, with their number in the database. */
export const logKinds = {
  /** A live room event; ref = its number (`events.nr`). Membership events carry the member in `user`. */
  event: 1,
  /** A change of current state that no live event at this position brings about; ref = JSON of the changed keys. */
  state: 2,
  /** A receipt; ref = JSON {type, event_id, thread_id?, ts}. */
  receipt: 3,
  /** Account data of `user`, in `room` or global; ref = type. */
  accountData: 4,
  /** A to-device message for `user`; ref = device id. */
  toDevice: 5,
  /** `user`'s device keys changed; ref = what (devices, keys, signing). */
  deviceList: 6,
  /** What processes cache and no client sees; ref = `<cache>:<key>`. */
  invalidate: 7,
  /** An invite, knock or rejected invite of a local user in a room this server is not in; ref = membership. */
  outOfBandMembership: 8,
  /** A to-device, device-list or similar EDU queued for remote servers; ref = destination. */
  outbox: 9,
  /** `user` subscribed to a thread of `room` or unsubscribed from it; ref = id of its root. */
  threadSubscription: 10,
} as const
export type LogKind = keyof typeof logKinds

/** A row of the log as readers get it. */
export interface LogRow<P = unknown> {
  readonly position: Position
  readonly kind: LogKind
  readonly room?: RoomId
  readonly user?: UserId
  readonly ref: string
  /** What the kind's writer attached, or its loader read from the tables for a row of another process. */
  readonly payload: P
}

/** One row to be written, with the rows of other tables that carry its position. */
export interface LogEntry {
  readonly kind: LogKind
  readonly room?: RoomId
  readonly user?: UserId
  readonly ref: string
  /** Handed to this process's tailers with the row; other processes load it. */
  readonly payload: unknown
  /**
   * Rows for `log_apply_<name>(rows jsonb, base bigint)`, by name. Each gets `i` (its entry's index in the batch):
   * position = base + i. The function belongs to the migration of the slice that owns the table.
   */
  readonly tables?: Readonly<Record<string, readonly JsonObject[]>>
}

/** What is written together or not at all. */
export interface LogWrite {
  /** The room's fence that this write was decided under; refused as 'fenced' when it moved on. */
  readonly fence?: { readonly room: RoomId; readonly value: number }
  /** Takes the room for this process: raises its fence. Verdict 'done' carries the new value in `fence`. */
  readonly claim?: { readonly room: RoomId }
  /** Unique row of the same commit; the second writer of a key gets the first one's answer. */
  readonly once?: { readonly scope: string; readonly key: string; readonly answer: string }
  readonly entries: readonly LogEntry[]
  /** Rows without a position of their own (outliers, extremities, jobs), for the same apply functions; `i` is absent. */
  readonly tables?: Readonly<Record<string, readonly JsonObject[]>>
}

/** What became of a write. */
export type Verdict =
  | { readonly kind: 'done'; readonly positions: readonly Position[]; readonly fence?: number }
  /** Another process owns the room now: drop its memory, ask the owner. */
  | { readonly kind: 'fenced' }
  /** An earlier write of the same room and process failed: rebuild on what is stored and try again. */
  | { readonly kind: 'chained' }
  | { readonly kind: 'duplicate'; readonly answer: string }
  /** The database refused this write alone (a poisoned row); `message` is for the log, not for callers. */
  | { readonly kind: 'refused'; readonly message: string }

/** The log writer of this process. */
export interface LogWriter {
  /**
   * Resolves when the write is durable (or refused) and this process's tailers have seen it and everything of this
   * process before it. Never rejects but when stopped. After a refusal in a room, all writes under that room's fence
   * that were handed over before the refusal's verdict arrived are 'chained'; those after it stand for themselves.
   */
  write(write: LogWrite): Promise<Verdict>
}

/** The tail of the log in this process. */
export interface Tail {
  /** Everything at or below has been handed to the subscribers. */
  readonly position: Position
  /**
   * Called synchronously, in order of position, with every row from now on. Subscribers must not throw and not
   * block; they are called in the order of subscription.
   */
  subscribe(name: string, onRows: (rows: readonly LogRow[]) => void): Disposable
  /** Resolves when `position` has been reached; false when it took longer than `timeoutMs`. */
  reached(position: Position, timeoutMs: number): Promise<boolean>
  /** Reads what a row of another process carries; one per kind, set before the tail starts. */
  loader(kind: LogKind, load: (rows: readonly LogRow[]) => Promise<readonly unknown[]>): void
  /** At most `limit` (and at most 2,000) stored rows after a position, with their payloads, in order. */
  read(after: Position, limit: number): Promise<readonly LogRow[]>
  /** The oldest position that `read` can still answer; what is older is in the tables of each kind. */
  oldest(): Promise<Position>
}

/** Who is alive and who owns what. */
export interface Processes {
  readonly self: string
  /** Rendezvous hashing over live processes; `undefined` when this process owns the key. */
  ownerOf(key: string): { readonly id: string; readonly address: string } | undefined
  /** More than one process alive: fan-out and forwarding are needed. */
  readonly alone: boolean
}
