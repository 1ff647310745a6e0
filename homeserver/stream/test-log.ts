import type { RoomId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import { type Clock, systemClock } from '../platform/clock.ts'
import { type Logger, silentLogger } from '../platform/log.ts'
import { systemRandom } from '../platform/random.ts'
import type { LogEntry, LogKind, LogWriter } from './log.ts'
import { isKind, type Load } from './rows.ts'
import { createTail, type RunningTail } from './tail.ts'
import { createLogWriter } from './writer.ts'

/** A log over a test's database: one process, no bus, no peers. For tests of slices. */
export async function openTestLog(
  db: Database,
  {
    self = systemRandom.text(6),
    log = silentLogger,
    loaders = {},
    clock = systemClock,
  }: { self?: string; clock?: Clock; log?: Logger; loaders?: Partial<Record<LogKind, Load>> } = {},
): Promise<{ writer: LogWriter; tail: RunningTail; self: string } & AsyncDisposable> {
  const tail = createTail({ db, clock, log, self })
  const processes = { self, alone: true }
  const writer = createLogWriter({ db, tail, processes, clock, log, random: systemRandom })
  for (const kind of Object.keys(loaders).filter(isKind)) {
    const load = loaders[kind]
    if (load !== undefined) tail.loader(kind, load)
  }
  await tail.start()
  return {
    writer,
    tail,
    self,
    async [Symbol.asyncDispose]() {
      await writer[Symbol.asyncDispose]()
      await tail[Symbol.asyncDispose]()
    },
  }
}

/** An entry of kind `receipt`: nothing hangs on it. */
export function testEntry(ref: string, room?: RoomId): LogEntry {
  return { kind: 'receipt', ref, payload: { ref }, ...(room === undefined ? {} : { room }) }
}
