/**
 * How far the sender of each process has come, so that nothing is forgotten when one dies: what lies behind a cursor
 * is delivered or noted in the database. What a dead process had in hand is looked up again by those that live.
 */
import type { Destinations } from '../homeserver/destinations/destinations.ts'
import type { Clock } from '../homeserver/platform/clock.ts'
import type { Logger } from '../homeserver/platform/log.ts'
import type { LogRow, Position, Processes, Tail } from '../homeserver/stream/log.ts'
import type { ServerName } from '../spec/ids.ts'
import type { DestinationQueue } from './destination-queue.ts'

/** The log as the sender follows it. */
export interface ReadableLog extends Pick<Tail, 'position' | 'subscribe'> {
  /** At most `limit` rows after a position, in order, with their payloads. */
  read(after: Position, limit: number): Promise<readonly LogRow[]>
}

interface Needs {
  readonly destinations: Destinations
  readonly queues: ReadonlyMap<ServerName, DestinationQueue>
  readonly tail: Pick<ReadableLog, 'position' | 'read'>
  readonly processes: Pick<Processes, 'self'>
  readonly clock: Clock
  readonly log: Logger
  /** Notes the events among the rows for the destinations that are owned here. */
  readonly replay: (rows: readonly LogRow[]) => Promise<void>
  /** The oldest position that is neither delivered nor noted in the database. */
  readonly oldestInHand: () => Position | undefined
}

export interface SenderCursor extends AsyncDisposable {
  start(): Promise<void>
}

const saveEveryMs = 1_000
/** A cursor that was not written for this long is that of a process that is gone. */
const deadAfterMs = 10_000
/** By then every living process has looked up its part of what the dead one had in hand. */
const forgetAfterMs = 120_000
const pageRows = 1_000

export function createSenderCursor(needs: Needs): SenderCursor {
  const { destinations, log, tail } = needs
  const { self } = needs.processes
  /** Dead processes whose cursor has been replayed here. */
  const replayed = new Set<string>()
  let saving: Promise<void> = Promise.resolve()
  let timer: Disposable | undefined

  async function replayFrom(from: Position, upTo: Position): Promise<void> {
    let after = from
    while (after < upTo) {
      const rows = await tail.read(after, pageRows)
      await needs.replay(rows)
      const last = rows.at(-1)
      if (last === undefined) return
      after = last.position
    }
  }

  /** Stores what is noted in memory, then how far that brings us, and looks for the dead. */
  async function save(): Promise<void> {
    const taken = [...needs.queues].map(([destination, queue]) => ({
      destination,
      queue,
      notes: queue.takeNotes(),
    }))
    const reached = tail.position
    const oldest = needs.oldestInHand()
    try {
      await destinations.noteBehind(
        taken.flatMap(({ destination, notes }) => notes.map((one) => ({ ...one, destination }))),
      )
    } catch (error) {
      for (const { queue, notes } of taken) queue.returnNotes(notes)
      throw error
    }
    await destinations.setCursor(
      self,
      oldest === undefined ? reached : Math.min(oldest - 1, reached),
    )
    await buryDead()
  }

  async function buryDead(): Promise<void> {
    for (const { process, position, ageMs } of await destinations.cursors()) {
      if (process === self) continue
      // One that was only paused may die yet.
      if (ageMs < deadAfterMs) replayed.delete(process)
      else if (!replayed.has(process)) {
        replayed.add(process)
        log.info({ process, position }, 'taking up what a process had in hand')
        await replayFrom(position, tail.position)
      } else if (ageMs > forgetAfterMs) {
        await destinations.dropCursors([process])
        replayed.delete(process)
      }
    }
  }

  function saveSoon(): void {
    saving = saving.then(save).catch((error: unknown) => {
      log.warn({ error }, 'cursor of the sender could not be stored')
    })
  }

  return {
    async start() {
      const before = await destinations.cursors()
      const positions = before.map(({ position }) => position)
      if (positions.length > 0) await replayFrom(Math.min(...positions), tail.position)
      for (const { process, ageMs } of before) if (ageMs >= deadAfterMs) replayed.add(process)
      await save()
      timer = needs.clock.every(saveEveryMs, saveSoon)
    },
    async [Symbol.asyncDispose]() {
      // Who never began has nothing in hand, and leaves nothing behind.
      if (timer === undefined) return
      timer[Symbol.dispose]()
      saveSoon()
      await saving
    },
  }
}
