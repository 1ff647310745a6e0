/**
 * The events that wait for one destination. While it keeps up they are here; once it does not, only the rooms and the
 * range of positions in which it misses events are, on their way into the database.
 */
import type { Behind } from '../homeserver/destinations/destinations.ts'
import type { StoredEvent } from '../homeserver/events/stored-event.ts'
import type { Position } from '../homeserver/stream/log.ts'
import type { RoomId } from '../spec/ids.ts'

export interface Backlog {
  /** False while the destination is fed from memory. */
  readonly isBehind: boolean
  /** Is there something to send, or to catch up with. */
  readonly hasWork: boolean
  /** The oldest position that is neither delivered nor stored as missing; undefined when there is none. */
  readonly oldest: Position | undefined
  push(event: StoredEvent, position: Position): void
  /** An event that it may miss; looked up when it is sent. */
  note(room: RoomId, position: Position): void
  /** The next events, at most `max`; they count as waiting until `delivered`. */
  take(max: number): readonly StoredEvent[]
  delivered(): void
  /** What was taken was not delivered, or cannot be. */
  fallBehind(): void
  /** Begins to catch up: what has to be stored before; what comes from now on is kept here as well, if it is little. */
  beginCatchUp(): readonly Behind[]
  /** Nothing is stored as missing any more: true when it is fed from memory again. */
  endCatchUp(): boolean
  /** What is noted here and not stored; nobody must be catching up. */
  takeNotes(): readonly Behind[]
  /** Gives back notes that could not be stored. */
  returnNotes(notes: readonly Behind[]): void
}

/** Events kept in memory for a destination; beyond that it has to catch up. */
const eventsMax = 500

interface Waiting {
  readonly event: StoredEvent
  readonly position: Position
}

export function createBacklog(): Backlog {
  /** All that waits, or while it catches up: what came since that began; absent when that was too much. */
  let waiting: Waiting[] | undefined = []
  let taken: readonly Waiting[] = []
  let isBehind = false
  let notes = new Map<RoomId, Behind>()

  function note(room: RoomId, position: Position): void {
    const { first, last } = notes.get(room) ?? { first: position, last: position }
    notes.set(room, { room, first: Math.min(first, position), last: Math.max(last, position) })
  }

  function fallBehind(): void {
    for (const { event, position } of [...taken, ...(waiting ?? [])]) {
      note(event.pdu.roomId, position)
    }
    taken = []
    waiting = undefined
    isBehind = true
  }

  return {
    get isBehind() {
      return isBehind
    },
    get hasWork() {
      return isBehind || (waiting !== undefined && waiting.length > 0)
    },
    get oldest() {
      let oldest = isBehind ? undefined : (taken[0] ?? waiting?.[0])?.position
      for (const { first } of notes.values()) oldest = Math.min(oldest ?? first, first)
      return oldest
    },
    push(event, position) {
      if (isBehind) note(event.pdu.roomId, position)
      waiting?.push({ event, position })
      if (waiting === undefined || waiting.length <= eventsMax) return
      if (isBehind) waiting = undefined
      else fallBehind()
    },
    note(room, position) {
      if (!isBehind) fallBehind()
      waiting = undefined
      note(room, position)
    },
    take(max) {
      taken = waiting?.splice(0, max) ?? []
      return taken.map(({ event }) => event)
    },
    delivered() {
      taken = []
    },
    fallBehind,
    beginCatchUp() {
      if (waiting !== undefined) return []
      const begun = [...notes.values()]
      notes = new Map()
      waiting = []
      return begun
    },
    endCatchUp() {
      if (waiting === undefined) return false
      notes = new Map()
      isBehind = false
      return true
    },
    takeNotes() {
      const all = [...notes.values()]
      if (all.length > 0) waiting = undefined
      notes = new Map()
      return all
    },
    returnNotes(returned) {
      waiting = undefined
      isBehind = true
      for (const { room, first, last } of returned) {
        note(room, first)
        note(room, last)
      }
    },
  }
}
