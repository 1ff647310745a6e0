import type { Pdu } from '../../spec/events/event.ts'
import type { DeviceId, EventId, UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'

/** Id of a state snapshot (a trie's root); 0 is the empty state. */
export type StateRoot = number

/**
 * An event as this server keeps it. `pdu` and `text` never change; what is learnt about the event later
 * (a redaction, a position for one that was soft-failed) is in the other fields.
 */
export interface StoredEvent {
  /** This server's own number of the event. */
  readonly nr: number
  readonly pdu: Pdu
  /** The JSON as it was signed. */
  readonly text: string
  /** > 0: position in the log (live); < 0: backfilled, counting downwards; absent: outlier, rejected or soft-failed. */
  readonly position?: number
  /** State before the event; absent for outliers. */
  readonly stateBefore?: StateRoot
  readonly stateAfter?: StateRoot
  /** Why it was rejected: sticky. */
  readonly rejected?: string
  readonly softFailed: boolean
  /** The transaction of the local device that sent it, for `unsigned.transaction_id`. */
  readonly txn?: { readonly device: DeviceId; readonly id: string }
  /** The state event of the same key that was current before this one: `unsigned.prev_content` and the like. */
  readonly replaces?: Replaced
  /** The accepted redaction of this event. */
  readonly redactedBy?: EventId
}

/** What a client is told of the state that an event replaced. */
export interface Replaced {
  readonly eventId: EventId
  readonly sender: UserId
  readonly content: JsonObject
}

/** Order of a room's history: depth, then arrival. {@link docs/decisions} */
export interface HistoryPoint {
  readonly depth: number
  readonly arrival: number
}
