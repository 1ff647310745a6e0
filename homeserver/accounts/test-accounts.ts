import { parseServerName, type UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { createJobs } from '../jobs/jobs.ts'
import { createPushRules } from '../notifications/push-rules.ts'
import { systemClock } from '../platform/clock.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { silentLogger } from '../platform/log.ts'
import { systemRandom } from '../platform/random.ts'
import type { LogEntry } from '../stream/log.ts'
import { type TestStream, testStream } from '../stream/test-stream.ts'
import { type AccountData, createAccountData } from './account-data.ts'
import { type Accounts, createAccounts } from './accounts.ts'
import { createInteractiveAuth, type InteractiveAuth } from './interactive-auth.ts'
import { createProfiles, type Profiles } from './profiles.ts'
import { createSessions, type Sessions } from './sessions.ts'

export const testServer = parseServerName('here.test')

/** The accounts slice over a test's database, with what it asks of others noted. */
export interface TestAccounts extends AsyncDisposable {
  readonly database: TestDatabase
  readonly log: TestStream
  readonly clock: FakeClock
  readonly accounts: Accounts
  readonly sessions: Sessions
  readonly profiles: Profiles
  readonly accountData: AccountData
  readonly interactiveAuth: InteractiveAuth
  /** What was carried into rooms. */
  readonly propagated: { user: UserId; profile: JsonObject }[]
  readonly deletedDevices: { user: UserId; devices: readonly string[] }[]
  readonly leftRooms: UserId[]
}

export async function testAccounts(): Promise<TestAccounts> {
  const database = await testDatabase()
  const { db } = database
  const log = testStream(db)
  const clock = new FakeClock()
  const propagated: TestAccounts['propagated'] = []
  const deletedDevices: TestAccounts['deletedDevices'] = []
  const leftRooms: UserId[] = []
  const common = { db, log: log.writer, tail: log.tail, clock, random: systemRandom }
  const deviceLists = {
    async deleted(user: UserId, devices: readonly string[]): Promise<readonly LogEntry[]> {
      deletedDevices.push({ user, devices })
      return []
    },
    renamed: async () => [],
  }
  const jobs = createJobs({
    db,
    writer: log.writer,
    clock: systemClock,
    log: silentLogger,
    random: systemRandom,
  })
  const accounts = createAccounts({
    ...common,
    jobs,
    serverName: testServer,
    deviceLists,
    leaveRooms: async (user) => void leftRooms.push(user),
    exclusiveOwner: (user) => (user.startsWith('@_bridge_') ? 'bridge' : undefined),
  })
  const sessions = createSessions({ ...common, deviceLists })
  const accountData = createAccountData({ ...common, pushRules: createPushRules(common) })
  await log.start()
  jobs.start()
  return {
    database,
    log,
    clock,
    accounts,
    sessions,
    profiles: createProfiles({
      ...common,
      serverName: testServer,
      remote: { profile: async () => ({ displayname: 'Far away' }) },
      propagate: async (user, profile) => void propagated.push({ user, profile }),
    }),
    accountData,
    interactiveAuth: createInteractiveAuth(common),
    propagated,
    deletedDevices,
    leftRooms,
    async [Symbol.asyncDispose]() {
      await jobs[Symbol.asyncDispose]()
      await sessions[Symbol.asyncDispose]()
      await log[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}
