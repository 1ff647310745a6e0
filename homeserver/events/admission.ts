/** Storing very many verified events of a room: in their auth order, a bounded number at a time, outside the log. */
import { createIdOfRoom, type EventId, type RoomId } from '../../spec/ids.ts'
import { readStoredPdu } from '../../spec/room/event-format.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Database } from '../database/database.ts'
import { inAuthOrder } from './auth-order.ts'
import type { VerifiedEvent } from './bulk-verify.ts'
import { refusalByOwn } from './judge.ts'
import type { Numbers } from './numbers.ts'
import { eventRow } from './persist.ts'
import { applyOutsideLog, numbersOfEvents } from './queries.ts'
import type { EventStore } from './store.ts'
import type { StoredEvent } from './stored-event.ts'

export interface Admission {
  /**
   * Stores events as outliers, each judged by its own auth events: one that fails is stored as rejected. One whose auth
   * events are not here is left out. `each` gets all that are stored, also those that were before; what it does not
   * keep is not kept in memory.
   */
  admit(
    room: RoomId,
    rules: RoomVersionRules,
    events: readonly VerifiedEvent[],
    each: (event: StoredEvent) => void,
  ): Promise<void>
}

interface Needs {
  readonly db: Database
  readonly store: EventStore
  readonly numbers: Numbers
}

/** Events judged and inserted at a stretch. */
const chunkEvents = 250

export function createAdmission(needs: Needs): Admission {
  return {
    async admit(room, rules, events, each) {
      const admitting = new Admitting(needs, room, rules, events)
      const ordered = inAuthOrder(events)
      for (let at = 0; at < ordered.length; at += chunkEvents) {
        const chunk = await admitting.chunk(ordered.slice(at, at + chunkEvents))
        for (const event of chunk) each(event)
        await new Promise((resolve) => setImmediate(resolve))
      }
    },
  }
}

class Admitting {
  readonly #needs: Needs
  readonly #rules: RoomVersionRules
  readonly #createId: EventId | undefined
  /** Events that others name; the rest, nearly all, need not be remembered. */
  readonly #named: Set<EventId>
  readonly #here = new Map<EventId, StoredEvent>()

  constructor(
    needs: Needs,
    room: RoomId,
    rules: RoomVersionRules,
    events: readonly VerifiedEvent[],
  ) {
    this.#needs = needs
    this.#rules = rules
    this.#createId = rules.createHashRoomId ? createIdOfRoom(room) : undefined
    this.#named = new Set(events.flatMap(({ authEvents }) => authEvents))
    if (this.#createId !== undefined) this.#named.add(this.#createId)
  }

  async chunk(events: readonly VerifiedEvent[]): Promise<StoredEvent[]> {
    const { db, store, numbers } = this.#needs
    const wanted = new Set(events.flatMap(({ eventId, authEvents }) => [eventId, ...authEvents]))
    if (this.#createId !== undefined) wanted.add(this.#createId)
    const unknown = [...wanted].filter((id) => !this.#here.has(id))
    // Nearly always none of them is here, which costs least to find out by their ids alone.
    const numbered = await numbersOfEvents(db, unknown)
    const known = await store.get(unknown.filter((id) => numbered.has(id)))
    for (const [id, event] of known) this.#remember(id, event)
    await numbers.ready(events.length)
    const stored: StoredEvent[] = []
    const fresh: StoredEvent[] = []
    for (const event of events) {
      const before = known.get(event.eventId)
      if (before !== undefined) {
        stored.push(before)
        continue
      }
      if (event.authEvents.some((id) => !this.#here.has(id))) continue
      const made = this.#make(event)
      this.#remember(event.eventId, made)
      fresh.push(made)
    }
    return [...stored, ...(await this.#insert(fresh))]
  }

  #remember(id: EventId, event: StoredEvent): void {
    if (this.#named.has(id)) this.#here.set(id, event)
  }

  #make({ eventId, text, pdu: read }: VerifiedEvent): StoredEvent {
    const create = this.#createId && this.#here.get(this.#createId)
    const pdu = read ?? readStoredPdu(text, eventId, this.#rules)
    const rejected = refusalByOwn(pdu, this.#rules, this.#here, create)
    const nr = this.#needs.numbers.take()
    return { nr, pdu, text, softFailed: false, ...(rejected !== undefined && { rejected }) }
  }

  async #insert(events: readonly StoredEvent[]): Promise<StoredEvent[]> {
    if (events.length === 0) return []
    const { db, store } = this.#needs
    await applyOutsideLog(db, 'events', JSON.stringify(events.map((event) => eventRow(event))))
    // Another process may have stored one of them meanwhile, under a number of its own.
    const ids = events.map(({ pdu }) => pdu.eventId)
    const numbers = await numbersOfEvents(db, ids)
    const isOurs = ({ nr, pdu }: StoredEvent) => numbers.get(pdu.eventId) === nr
    if (events.every(isOurs)) return [...events]
    const others = events.filter((event) => !isOurs(event))
    const theirs = await store.get(others.map(({ pdu }) => pdu.eventId))
    for (const [id, event] of theirs) this.#remember(id, event)
    return [...events.filter(isOurs), ...theirs.values()]
  }
}
