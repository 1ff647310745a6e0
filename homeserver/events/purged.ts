import { type EventId, isEventId, type RoomId } from '../../spec/ids.ts'
import type { LogEntry, LogRow } from '../stream/log.ts'

/** `ref` of the log row that says that events of `room` are gone; of all its events when the room is. */
const purgedRef = 'events:purged'
const deletedRef = 'events:deleted'
/** `ref` of the log row that says that an event was reduced to its redacted form: with its number and id. */
const reducedPrefix = 'events:reduced:'

/** Tells every process that events of a room, or the whole room, are gone. */
export function purgeEntry(room: RoomId, isWholeRoom: boolean): LogEntry {
  const ref = isWholeRoom ? deletedRef : purgedRef
  return { kind: 'invalidate', room, ref, payload: undefined }
}

/** Tells every process that the text of an event has changed. */
export function reducedEntry(nr: number, id: EventId): LogEntry {
  return { kind: 'invalidate', ref: `${reducedPrefix}${nr} ${id}`, payload: undefined }
}

type Marked = Pick<LogRow, 'kind' | 'ref'>

/** Are events of the row's room gone. */
export function isPurge(row: Marked): boolean {
  return row.kind === 'invalidate' && (row.ref === purgedRef || row.ref === deletedRef)
}

/** Is the row's room gone. */
export function isDeletion({ kind, ref }: Marked): boolean {
  return kind === 'invalidate' && ref === deletedRef
}

/** The event whose text has changed. */
export function reducedIn({ kind, ref }: Marked): { nr: number; id: EventId } | undefined {
  if (kind !== 'invalidate' || !ref.startsWith(reducedPrefix)) return undefined
  const [nr, id] = ref.slice(reducedPrefix.length).split(' ')
  return isEventId(id) ? { nr: Number(nr), id } : undefined
}
