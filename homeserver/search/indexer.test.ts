import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { stateKeyOf } from '../../spec/events/event.ts'
import {
  parseEventId,
  parseRoomId,
  parseServerName,
  parseUserId,
  type RoomId,
} from '../../spec/ids.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { silentLogger } from '../platform/log.ts'
import type { MembershipRow } from '../rooms/rooms.ts'
import type { LogRow } from '../stream/log.ts'
import { createIndexer } from './indexer.ts'

const room = parseRoomId('!room:far.test')
const members = new Map(
  ['ann', 'bea', 'cleo'].map((name) => {
    const user = parseUserId(`@${name}:far.test`)
    const row: MembershipRow = {
      ...{ room, user, sender: user, membership: 'join', displayName: name, forgotten: false },
      ...{ eventId: parseEventId(`$${name}`), since: 1, position: 1 },
    }
    return [user, row] as const
  }),
)
let database: TestDatabase
let rows: LogRow[] = []
let reads = 0

beforeAll(async () => {
  database = await testDatabase()
}, 60_000)
afterAll(() => database[Symbol.asyncDispose]())
beforeEach(async () => {
  reads = 0
  await database.db`delete from search_names`
  await database.db`update search_progress set position = 0`
})

async function read(...payloads: unknown[]): Promise<string[]> {
  const { db } = database
  rows = payloads.map((payload, n) => ({
    ...{ position: n + 1, kind: 'state', room, payload },
    ref: 'm.room.member',
  }))
  await using indexer = createIndexer({
    ...{ db, clock: new FakeClock(), logger: silentLogger, owns: () => true },
    serverName: parseServerName('here.test'),
    tail: {
      position: rows.length,
      subscribe: () => ({ [Symbol.dispose]() {} }),
      read: async (after) => rows.filter(({ position }) => position > after),
    },
    events: { byNumber: async () => new Map(), currentEntry: async () => undefined },
    memberships: {
      async ofRoom(_: RoomId) {
        reads++
        return members
      },
    },
    profileOf: async () => ({}),
  })
  await indexer.catchUp()
  const found = await db<{ name: string }>`select name from search_names order by name`
  return found.map(({ name }) => name)
}

it('learns the names of those whose membership was resolved, not of all others', async () => {
  const bea = stateKeyOf('m.room.member', '@bea:far.test')
  expect(await read({ changes: [[bea, 7]] })).toEqual(['bea'])
})

it('learns all names of a room that is new, once', async () => {
  const all = { changes: [], isAll: true }
  expect(await read(all, all, all)).toEqual(['ann', 'bea', 'cleo'])
  expect(reads).toBe(1)
})
