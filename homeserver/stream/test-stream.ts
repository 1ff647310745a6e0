import type { Database } from '../database/database.ts'
import { systemClock } from '../platform/clock.ts'
import { silentLogger } from '../platform/log.ts'
import { systemRandom } from '../platform/random.ts'
import type { LogWriter } from './log.ts'
import { createTail, type RunningTail } from './tail.ts'
import { createLogWriter } from './writer.ts'

/** As `openTestLog`, but the slices that set loaders are built before `start`. */
export interface TestStream extends AsyncDisposable {
  readonly writer: LogWriter
  readonly tail: RunningTail
  readonly self: string
  start(): Promise<void>
}

export function testStream(db: Database): TestStream {
  const clock = systemClock
  const self = systemRandom.text(6)
  const log = silentLogger
  const tail = createTail({ db, clock, log, self })
  const processes = { self, alone: true }
  const writer = createLogWriter({ db, tail, processes, clock, log, random: systemRandom })
  return {
    writer,
    tail,
    self,
    start: () => tail.start(),
    async [Symbol.asyncDispose]() {
      await writer[Symbol.asyncDispose]()
      await tail[Symbol.asyncDispose]()
    },
  }
}
