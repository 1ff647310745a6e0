import { afterAll, beforeAll, expect, it } from 'vitest'
import { isRoomId } from '../../../spec/ids.ts'
import { type TestDatabase, testDatabase } from '../../database/test-database.ts'
import { FakeClock } from '../../platform/fake-clock.ts'
import { silentLogger } from '../../platform/log.ts'
import { createConnections } from './connections.ts'
import { coverageOf } from './coverage.ts'
import { slidingLimits } from './request.ts'
import { draftOf, live, nothingSent } from './sent.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await testDatabase()
}, 60_000)
afterAll(() => database[Symbol.asyncDispose]())

const coverage = coverageOf({ timelineLimit: 1, required: [] })
const key = { user: '@a:here.test', device: 'D', connId: 'c' }

function sentWith(id: string) {
  if (!isRoomId(id)) throw new Error('not a room id')
  const draft = draftOf(nothingSent)
  draft.setRoom(id, { upTo: live, coverage, isDm: false })
  return draft.result()
}

async function rows(): Promise<number[]> {
  const found = await database.db<{ nr: number }>`select nr from sliding_positions order by nr`
  return found.map(({ nr }) => nr)
}

function open() {
  const clock = new FakeClock()
  const needs = { db: database.db, log: silentLogger, clock }
  return { clock, connections: createConnections(needs), others: createConnections(needs) }
}

it('keeps what the client may come back with, and drops what it has passed', async () => {
  const { connections, others } = open()
  const first = await connections.put(key, sentWith('!1:b'), undefined)
  const second = await connections.put(key, sentWith('!2:b'), first)
  const third = await connections.put(key, sentWith('!3:b'), first)
  expect(await rows()).toEqual([first, second, third])
  for (const one of [connections, others]) {
    expect(await one.get(key, first)).toEqual(sentWith('!1:b'))
    expect(await one.get(key, third)).toEqual(sentWith('!3:b'))
  }
  const fourth = await connections.put(key, sentWith('!4:b'), third)
  expect(await rows()).toEqual([third, fourth])
  const unknown = { errcode: 'M_UNKNOWN_POS' }
  await expect(connections.get(key, first)).rejects.toMatchObject(unknown)
  await expect(others.get({ ...key, device: 'E' }, fourth)).rejects.toMatchObject(unknown)
})

it('keeps no more answers than a client may have lost', async () => {
  const { connections } = open()
  const confirmed = await connections.put(key, sentWith('!1:b'), undefined)
  for (let n = 0; n < 12; n++) await connections.put(key, sentWith(`!${n}:b`), confirmed)
  expect(await rows()).toHaveLength(1 + slidingLimits.unconfirmedPositions)
  expect(await connections.get(key, confirmed)).toEqual(sentWith('!1:b'))
})

it('forgets what nobody uses, and not what somebody does', async () => {
  const { connections, clock } = open()
  const old = await connections.put({ ...key, connId: 'old' }, sentWith('!1:b'), undefined)
  const used = await connections.put({ ...key, connId: 'used' }, sentWith('!2:b'), undefined)
  await database.db`update sliding_positions set used_at = now() - interval '40 days'`
  await clock.advance(2 * 24 * 3_600_000)
  await connections.get({ ...key, connId: 'used' }, used)
  // The mark is written behind.
  await expect
    .poll(
      async () =>
        await database.db`select 1 from sliding_positions where nr = ${used} and used_at > now() - interval '1 day'`,
      { timeout: 10_000 },
    )
    .toHaveLength(1)
  await connections.put({ ...key, connId: 'new' }, sentWith('!3:b'), undefined)
  expect(await rows()).toContain(used)
  expect(await rows()).not.toContain(old)
})
