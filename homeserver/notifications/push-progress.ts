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
export interface PushProgress extends AsyncDisposable {
  /** Reads what happened while nobody was there, up to `upTo`. */
  begin(upTo: Position): Promise<void>
  /** Everything at or below is sent, or stored as not delivered. Written behind. */
  store(position: Position): void
  /** Processes came or went: reads what those that are gone had not sent. */
  takeOver(): Promise<void>
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
/** Processes gone for longer are forgotten. */
const keptMs = 600_000

export function createPushProgress(needs: PushProgressNeeds): PushProgress {
  const { db, clock, logger, tail, processes } = needs
  const takenOver = new Set<string>([processes.self])
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
      if (takenOver.has(id) || live.some((one) => one.id === id)) continue
      takenOver.add(id)
      const before = [...live, { id }]
      await replay(position, tail.position, (user) => ownerAmong(before, `push:${user}`)?.id === id)
    }
  }

  return {
    async begin(upTo) {
      const rows = await queries.pushProgress(db)
      for (const { process_id: id } of rows) takenOver.add(id)
      const live = new Set(processes.others().map(({ id }) => id))
      for (const id of live) takenOver.delete(id)
      if (rows.length > 0) {
        await replay(Math.min(...rows.map(({ position }) => position)), upTo, () => true)
      }
      await queries.dropProgress(db, keptMs)
    },
    store(position) {
      const now = clock.now()
      if (storing !== undefined || position <= stored || now - storedAt < storeEveryMs) return
      storedAt = now
      storing = queries
        .storeProgress(db, processes.self, position)
        .then(() => {
          stored = position
        })
        .catch((error: unknown) => logger.warn({ error }, 'progress of pushing was not stored'))
        .finally(() => {
          storing = undefined
        })
    },
    takeOver,
    async [Symbol.asyncDispose]() {
      await storing
    },
  }
}
