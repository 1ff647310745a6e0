/**
 * Sends what waits for one destination: one transaction at a time, not while it is left alone after a failure.
 */
import type { Behind, Destinations } from '../homeserver/destinations/destinations.ts'
import type { Events } from '../homeserver/events/events.ts'
import type { StoredEvent } from '../homeserver/events/stored-event.ts'
import type { Clock } from '../homeserver/platform/clock.ts'
import type { Logger } from '../homeserver/platform/log.ts'
import type { Position } from '../homeserver/stream/log.ts'
import { transactionEdusMax, transactionPdusMax } from '../spec/api/federation/transactions.ts'
import type { RoomId, ServerName } from '../spec/ids.ts'
import { createBacklog } from './backlog.ts'
import { sendMissed } from './catch-up.ts'
import { type Ephemeral, takeEdus } from './coalescing.ts'
import { storedEduText } from './outgoing.ts'
import type { Transport } from './transport.ts'

export interface DestinationQueue {
  /** An event for this destination; `position` is the event's. */
  push(event: StoredEvent, position: Position): void
  /** An event that this destination may miss; looked up when it is sent. */
  note(room: RoomId, position: Position): void
  /** Something that is worth nothing later; a newer one with the same key replaces it. */
  pushEphemeral(key: string, item: Ephemeral): void
  /** Its outbox has grown. */
  outboxGrown(): void
  /** Something may be stored as missing. */
  resume(): void
  /** Sends what can be sent; returns at once. */
  pump(): void
  /** What is noted in memory only; the caller stores it, or gives it back. */
  takeNotes(): readonly Behind[]
  returnNotes(notes: readonly Behind[]): void
  /** The oldest position that is neither delivered nor stored as missing; undefined when there is none. */
  readonly oldest: Position | undefined
  readonly isIdle: boolean
  /** Nothing of it is in memory only, and nothing on its way. */
  readonly isStored: boolean
}

export interface QueueNeeds {
  readonly serverName: ServerName
  readonly destinations: Destinations
  readonly events: Pick<Events, 'timeline' | 'serverMaySee'>
  readonly clock: Clock
  readonly log: Logger
}

/** What may be lost is lost when more than this waits. */
const ephemeralMax = 500
/** A room that cannot be read so often is left out: the others wait behind it. */
const readsMax = 5

export function createDestinationQueue(
  to: ServerName,
  needs: QueueNeeds & Transport,
): DestinationQueue {
  const { destinations } = needs
  const backlog = createBacklog()
  const ephemeral = new Map<string, Ephemeral>()
  /** How often rooms could not be read; of those that it has to catch up with. */
  const unread = new Map<RoomId, number>()
  let hasOutbox = false
  let isRunning = false

  function pump(): void {
    if (isRunning || !hasWork() || isPaused()) return
    isRunning = true
    // run() handles its errors; nobody waits for it.
    void needs.inPlace(to, run).finally(() => {
      isRunning = false
      pump()
    })
  }

  function hasWork(): boolean {
    return backlog.hasWork || hasOutbox || ephemeral.size > 0
  }

  function isPaused(): boolean {
    return destinations.backoff.retryAt(to) > needs.clock.now()
  }

  async function run(): Promise<void> {
    try {
      while (hasWork() && !isPaused()) {
        const isDone = backlog.isBehind ? await catchUp() : await sendWaiting()
        if (!isDone) return fallBehind()
      }
    } catch (error) {
      needs.log.error({ destination: to, error }, 'queue of a destination failed')
      fallBehind()
      hasOutbox = true
      destinations.backoff.failed(to)
    }
  }

  function fallBehind(): void {
    backlog.fallBehind()
    ephemeral.clear()
  }

  async function sendWaiting(): Promise<boolean> {
    const pdus = backlog.take(transactionPdusMax).map(({ text }) => text)
    if (!(await sendWithEdus(pdus))) return false
    backlog.delivered()
    return true
  }

  /** These events and what fits of the EDUs. */
  async function sendWithEdus(pdus: readonly string[]): Promise<boolean> {
    const stored = hasOutbox ? await takeOutbox() : []
    const edus = [
      ...stored.flatMap(({ text }) => text ?? []),
      ...takeEdus(ephemeral, transactionEdusMax - stored.length),
    ]
    if (pdus.length + edus.length > 0 && !(await needs.send(to, { pdus, edus }))) {
      hasOutbox ||= stored.length > 0
      return false
    }
    if (stored.length > 0) await destinations.acknowledge(stored.map(({ id }) => id))
    return true
  }

  async function takeOutbox(): Promise<{ id: number; text: string | undefined }[]> {
    hasOutbox = false
    const rows = await destinations.outbox(to, transactionEdusMax)
    if (rows.length === transactionEdusMax) hasOutbox = true
    return rows.map(({ id, eduType, content }) => ({ id, text: storedEduText(eduType, content) }))
  }

  /** One page of what it missed, or the way back to being fed from memory. */
  async function catchUp(): Promise<boolean> {
    const notes = backlog.beginCatchUp()
    try {
      await destinations.noteBehind(notes.map((one) => ({ ...one, destination: to })))
    } catch (error) {
      backlog.returnNotes(notes)
      throw error
    }
    const page = await sendMissed(to, { ...needs, send: sendWithEdus, unreadable })
    if (page === 'none') {
      backlog.endCatchUp()
      unread.clear()
    }
    return page !== 'failed'
  }

  function unreadable(room: RoomId, error: unknown): boolean {
    const times = (unread.get(room) ?? 0) + 1
    unread.set(room, times)
    if (times < readsMax) return false
    needs.log.error({ destination: to, room, error }, 'events for a destination cannot be read')
    return true
  }

  return {
    push: backlog.push,
    note: backlog.note,
    pushEphemeral(key, item) {
      if (backlog.isBehind || isPaused()) return
      ephemeral.delete(key)
      if (ephemeral.size < ephemeralMax) ephemeral.set(key, item)
    },
    outboxGrown() {
      hasOutbox = true
    },
    resume() {
      if (!backlog.isBehind && !isRunning) backlog.fallBehind()
    },
    pump,
    // Whoever is catching up stores the notes itself.
    takeNotes: () => (isRunning ? [] : backlog.takeNotes()),
    returnNotes: backlog.returnNotes,
    get oldest() {
      return backlog.oldest
    },
    get isIdle() {
      return !isRunning && !hasWork()
    },
    get isStored() {
      return !isRunning && backlog.oldest === undefined
    },
  }
}
