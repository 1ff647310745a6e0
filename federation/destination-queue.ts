/**
 * What waits for one destination. A destination that keeps up is fed from memory. Once a transaction fails, only the
 * rooms in which it misses events are noted (homeserver/destinations), and it catches up from there.
 */
import type { Behind, Destinations } from '../homeserver/destinations/destinations.ts'
import type { Events } from '../homeserver/events/events.ts'
import type { StoredEvent } from '../homeserver/events/stored-event.ts'
import type { Clock } from '../homeserver/platform/clock.ts'
import type { Logger } from '../homeserver/platform/log.ts'
import type { Position } from '../homeserver/stream/log.ts'
import { transactionEdusMax, transactionPdusMax } from '../spec/api/federation/transactions.ts'
import type { RoomId, ServerName } from '../spec/ids.ts'
import { sendMissed } from './catch-up.ts'
import { type OutgoingTransaction, storedEduText } from './outgoing.ts'

export interface DestinationQueue {
  /** An event for this destination; `position` is the event's. */
  push(event: StoredEvent, position: Position): void
  /** An event that this destination may miss; looked up when it is sent. */
  note(room: RoomId, position: Position): void
  /** An EDU that is worth nothing later; a newer one with the same key replaces it. */
  pushEphemeral(key: string, text: string): void
  /** Its outbox has grown. */
  outboxGrown(): void
  /** Something may be noted for it in the database. */
  resume(): void
  /** Sends what can be sent; returns at once. */
  pump(): void
  /** Something noted in memory, for storing; the caller stores it. */
  takeNoted(): readonly (Behind & { destination: ServerName })[]
  /** The oldest position that is neither delivered nor stored as missing; undefined when there is none. */
  readonly oldest: Position | undefined
  readonly isIdle: boolean
}

export interface QueueNeeds {
  readonly serverName: ServerName
  readonly destinations: Destinations
  readonly events: Pick<Events, 'timeline' | 'serverMaySee'>
  readonly clock: Clock
  readonly log: Logger
  /** Sends a transaction; false when it has to be sent again later. */
  readonly send: (to: ServerName, transaction: OutgoingTransaction) => Promise<boolean>
  /** Runs the work when one of the places for transactions under way is free. */
  readonly inPlace: (work: () => Promise<void>) => Promise<void>
}

/** Events kept in memory for a destination that keeps up; beyond that it has to catch up. */
const pdusMax = 500
const ephemeralMax = 500

interface Pending {
  readonly event: StoredEvent
  readonly position: Position
}

export function createDestinationQueue(to: ServerName, needs: QueueNeeds): DestinationQueue {
  const { destinations } = needs
  /** While it keeps up: all that waits. While it catches up: what came since, if that is little. */
  let pending: Pending[] | undefined = []
  let sending: readonly Pending[] = []
  let isBehind = false
  let noted = new Map<RoomId, Behind>()
  const ephemeral = new Map<string, string>()
  let hasOutbox = false
  let isRunning = false

  function note(room: RoomId, position: Position): void {
    const { first, last } = noted.get(room) ?? { first: position, last: position }
    noted.set(room, { room, first: Math.min(first, position), last: Math.max(last, position) })
  }

  /** From memory to notes: it does not keep up. */
  function fallBehind(): void {
    for (const { event, position } of [...sending, ...(pending ?? [])]) {
      note(event.pdu.roomId, position)
    }
    sending = []
    pending = undefined
    isBehind = true
    ephemeral.clear()
  }

  function pump(): void {
    if (isRunning || !hasWork() || isPaused()) return
    isRunning = true
    // run() handles its errors; nobody waits for it.
    void needs.inPlace(run).finally(() => {
      isRunning = false
      pump()
    })
  }

  function hasWork(): boolean {
    return isBehind || hasOutbox || ephemeral.size > 0 || (pending?.length ?? 0) > 0
  }

  function isPaused(): boolean {
    return destinations.backoff.retryAt(to) > needs.clock.now()
  }

  async function run(): Promise<void> {
    try {
      while (hasWork() && !isPaused()) {
        const done = isBehind ? await catchUp() : await sendPending()
        if (!done) return fallBehind()
      }
    } catch (error) {
      needs.log.error({ destination: to, error }, 'queue of a destination failed')
      fallBehind()
      hasOutbox = true
      destinations.backoff.failed(to)
    }
  }

  async function sendPending(): Promise<boolean> {
    sending = pending?.splice(0, transactionPdusMax) ?? []
    const stored = hasOutbox ? await takeOutbox() : []
    const fleeting = [...ephemeral].slice(0, transactionEdusMax - stored.length)
    for (const [key] of fleeting) ephemeral.delete(key)
    const edus = [...stored.map(({ text }) => text), ...fleeting.map(([, text]) => text)]
    const pdus = sending.map(({ event }) => event.text)
    const transaction = { pdus, edus: edus.filter((text) => text !== undefined) }
    if (pdus.length + transaction.edus.length > 0 && !(await needs.send(to, transaction))) {
      hasOutbox ||= stored.length > 0
      return false
    }
    sending = []
    if (stored.length > 0) await destinations.acknowledge(stored.map(({ id }) => id))
    return true
  }

  async function takeOutbox(): Promise<{ id: number; text: string | undefined }[]> {
    hasOutbox = false
    const rows = await destinations.outbox(to, transactionEdusMax)
    if (rows.length === transactionEdusMax) hasOutbox = true
    return rows.map(({ id, eduType, content }) => ({ id, text: storedEduText(eduType, content) }))
  }

  /** One page of rooms, or the way back to being fed from memory. */
  async function catchUp(): Promise<boolean> {
    if (pending === undefined) {
      const notes = [...noted.values()]
      noted = new Map()
      pending = []
      await storeNotes(notes)
    }
    const page = await sendMissed(to, needs)
    if (page === 'none' && pending !== undefined) {
      noted = new Map()
      isBehind = false
    }
    return page !== 'failed'
  }

  async function storeNotes(notes: readonly Behind[]): Promise<void> {
    try {
      await destinations.noteBehind(notes.map((one) => ({ ...one, destination: to })))
    } catch (error) {
      for (const { room, first, last } of notes) {
        note(room, first)
        note(room, last)
      }
      throw error
    }
  }

  return {
    push(event, position) {
      if (isBehind) note(event.pdu.roomId, position)
      pending?.push({ event, position })
      if (pending && pending.length > pdusMax) {
        if (isBehind) pending = undefined
        else fallBehind()
      }
    },
    note(room, position) {
      if (!isBehind) fallBehind()
      pending = undefined
      note(room, position)
    },
    pushEphemeral(key, text) {
      if (isBehind || isPaused() || ephemeral.size >= ephemeralMax) return
      ephemeral.delete(key)
      ephemeral.set(key, text)
    },
    resume() {
      if (!isBehind && !isRunning) fallBehind()
    },
    outboxGrown() {
      hasOutbox = true
    },
    pump,
    takeNoted() {
      // While it catches up, that stores the notes itself.
      if (isRunning || noted.size === 0) return []
      const taken = [...noted.values()].map((one) => ({ ...one, destination: to }))
      noted = new Map()
      pending = undefined
      return taken
    },
    get oldest() {
      let oldest = isBehind ? undefined : (sending[0] ?? pending?.[0])?.position
      for (const { first } of noted.values()) oldest = Math.min(oldest ?? first, first)
      return oldest
    },
    get isIdle() {
      return !isRunning && !hasWork() && noted.size === 0
    },
  }
}
