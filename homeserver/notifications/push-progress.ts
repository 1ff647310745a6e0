import type { UserId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { LogRow, Position, Tail } from '../stream/log.ts'
import type { RunningProcesses } from '../stream/processes.ts'
import { ownerAmong } from '../stream/rendezvous.ts'
import * as queries from './pusher-queries.ts'

/**
 * Up to where each process has pushed. It is stored every few seconds, so a process that dies leaves a little that nobody
 * knows of: whoever takes its users over reads that much of the log again. A gateway may hear of an event twice, which it
 * can tell by the event's id.
 */
export interface PushProgress {
  /** Reads what happened while nobody was there, up to `upTo`. */
  begin(upTo: Position): Promise<void>
  /** Everything at or below is sent, or stored as not delivered. Written behind. */
  store(position: Position): void
  /** Processes came or went: reads what those that are gone had not sent. */
  takeOver(): Promise<void>
  /** Stores it for the last time. */
  end(position: Position): Promise<void>
}

export interface PushProgressNeeds {
  readonly db: Database
  readonly clock: Clock
  readonly logger: Logger
  readonly tail: Pick<Tail, 'read' | 'position' | 'subscribe'>
  readonly processes: Pick<RunningProcesses, 'self' | 'others' | 'onChange'>
  /** Looks at rows again for those users. */
  readonly replay: (rows: readonly LogRow[], isMine: (user: UserId) => boolean) => Promise<void>
}

const storeEveryMs = 2_000
const pageRows = 1_000
/** Rows read again at most; what is older is given up, and the badge of the next notice tells of it. */
const replayRowsMax = 20_000
/** A process that is gone is forgotten when everybody has had the time to look at what it left. */
const keptMs = 30_000

export function createPushProgress(needs: PushProgressNeeds): PushProgress {
  const { db, clock, logger, tail, processes } = needs
  /** Processes that are gone, and when it was seen. */
  const gone = new Map<string, number>()
  let stored: Position = 0
  let storedAt = 0
  let storing: Promise<void> | undefined

  async function replay(from: Position, upTo: Position, isMine: (user: UserId) => boolean) {
    let after = from
    for (let read = 0; read < replayRowsMax && after < upTo; read += pageRows) {
      const rows = await tail.read(after, pageRows)
      const last = rows.at(-1)
      if (last === undefined) return
      const early = rows.filter(({ position }) => position <= upTo)
      await needs.replay(early, isMine)
      after = last.position
    }
  }

  async function takeOver(): Promise<void> {
    const live = [processes.self, ...processes.others().map(({ id }) => id)].map((id) => ({ id }))
    for (const { process_id: id, position } of await queries.pushProgress(db)) {
      if (gone.has(id) || live.some((one) => one.id === id)) continue
      gone.set(id, clock.now())
      const before = [...live, { id }]
      await replay(position, tail.position, (user) => ownerAmong(before, `push:${user}`)?.id === id)
    }
  }

  async function write(position: Position): Promise<void> {
    await queries.storeProgress(db, processes.self, position)
    stored = position
    const forgotten = [...gone].filter(([, seenAt]) => clock.now() - seenAt > keptMs)
    if (forgotten.length === 0) return
    const ids = forgotten.map(([id]) => id)
    await queries.dropProgress(db, ids)
    for (const id of ids) gone.delete(id)
  }

  return {
    async begin(upTo) {
      const rows = await queries.pushProgress(db)
      const live = new Set([processes.self, ...processes.others().map(({ id }) => id)])
      for (const { process_id: id } of rows) if (!live.has(id)) gone.set(id, clock.now())
      if (rows.length > 0) {
        await replay(Math.min(...rows.map(({ position }) => position)), upTo, () => true)
      }
    },
    store(position) {
      const now = clock.now()
      if (storing !== undefined || position <= stored || now - storedAt < storeEveryMs) return
      storedAt = now
      storing = write(position)
        .catch((error: unknown) => logger.warn({ error }, 'progress of pushing was not stored'))
        .finally(() => {
          storing = undefined
        })
    },
    takeOver,
    async end(position) {
      await storing
      await write(position)
    },
  }
}
