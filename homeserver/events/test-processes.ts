import { parseServerName } from '../../spec/ids.ts'
import type { TestDatabase } from '../database/test-database.ts'
import { systemClock } from '../platform/clock.ts'
import { silentLogger } from '../platform/log.ts'
import { systemRandom } from '../platform/random.ts'
import { createOwnedMethods } from '../stream/owned-methods.ts'
import { createStream, type Stream } from '../stream/stream.ts'
import { createEvents, type EventsNeeds } from './create-events.ts'
import { type TestServer, testNeeds } from './test-events.ts'

/** One of several processes of a server: an engine of its own over the database of all. */
export interface TestProcess extends TestServer {
  readonly stream: Stream
  readonly owned: ReturnType<typeof createOwnedMethods>
  start(): Promise<void>
}

/** Opens a process; what answers calls of the others is added before `start`. */
export async function openTestProcess(
  name: string,
  database: TestDatabase,
  others: Partial<Pick<EventsNeeds, 'membershipRow'>> = {},
): Promise<TestProcess> {
  const serverName = parseServerName(name)
  const basis = { clock: systemClock, log: silentLogger, random: systemRandom }
  const settings = {
    databaseUrl: database.url,
    secret: 'test',
    peerHost: '127.0.0.1',
    peerPort: 0,
  }
  const stream = await createStream({ settings, ...basis })
  const { writer, tail, processes } = stream
  const needs = { ...testNeeds(serverName, new Map()), ...basis, db: database.db, ...others }
  const events = createEvents({ ...needs, writer, tail, processes })
  return {
    name: serverName,
    events,
    database,
    stream,
    owned: createOwnedMethods({ ...stream, clock: systemClock }),
    start: () => stream.start(),
    [Symbol.asyncDispose]: () => stream[Symbol.asyncDispose](),
  }
}

/** Resolves when two processes know of each other. */
export async function acquainted(one: TestProcess, other: TestProcess): Promise<void> {
  for (const { processes } of [one.stream, other.stream]) {
    while (processes.alone) {
      await new Promise<void>((resolve) => {
        const subscription = processes.onChange(() => {
          subscription[Symbol.dispose]()
          resolve()
        })
      })
    }
  }
}
