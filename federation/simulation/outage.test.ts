/** What a long silence, and a clock that jumps, do to the sending between two servers; on virtual time. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type TestDatabase, testDatabase } from '../../homeserver/database/test-database.ts'
import type { Requester } from '../../homeserver/rooms/rooms.ts'
import { parseDeviceId, parseServerName, parseUserId, type RoomId } from '../../spec/ids.ts'
import { createNetwork, type Network } from './test-network.ts'
import { createSchedule, type Schedule } from './test-schedule.ts'
import { idsShown, openSimServer, type SimServer } from './test-sim-server.ts'
import { until } from './test-world.ts'

const minuteMs = 60_000
const hourMs = 60 * minuteMs
const tenYearsMs = 10 * 365.25 * 24 * hourMs
const names = ['a.example', 'b.example'].map(parseServerName)

let databases: TestDatabase[]
let schedule: Schedule
let network: Network
let servers: SimServer[]
let skewMs: number
let crashes: unknown[]

beforeAll(async () => {
  databases = [await testDatabase(), await testDatabase()]
})
afterAll(async () => {
  for (const database of databases) await database[Symbol.asyncDispose]()
})

let startMs = 1_700_000_000_000
beforeEach(async () => {
  startMs += hourMs * 1_000
  crashes = []
  skewMs = 0
  // Nothing here needs to be found sooner than within a minute.
  schedule = createSchedule(startMs, minuteMs)
  network = createNetwork(schedule, startMs)
  servers = []
  for (const [at, name] of names.entries()) {
    const { db: database } = databases[at] ?? (await testDatabase())
    const onCrash = (what: unknown) => void crashes.push(what)
    const needs = {
      name,
      database,
      schedule,
      network,
      seed: startMs,
      onCrash,
      skewMs: () => skewMs,
    }
    servers.push(await until(schedule, openSimServer(needs)))
  }
})
afterEach(async () => {
  for (const server of servers) await server[Symbol.asyncDispose]()
  expect(crashes).toEqual([])
})

function pair(): [SimServer, SimServer] {
  const [a, b] = servers
  if (!a || !b) throw new Error('two servers')
  return [a, b]
}

function userOf(server: SimServer): Requester {
  const user = parseUserId(`@u:${server.name}`)
  return { user, device: parseDeviceId('D'), guest: false, admin: false }
}

async function sharedRoom(): Promise<RoomId> {
  const [a, b] = pair()
  const room = await until(schedule, a.rooms.create(userOf(a), { preset: 'public_chat' }))
  await until(schedule, b.rooms.join(userOf(b), room, { via: [a.name] }))
  return room
}

async function say(server: SimServer, room: RoomId, body: string) {
  const content = { msgtype: 'm.text', body }
  const draft = { room, type: 'm.room.message', content }
  return await until(schedule, server.rooms.send(userOf(server), draft))
}

function part(): void {
  const [a, b] = pair()
  network.cut(a.name, b.name)
  network.cut(b.name, a.name)
}

describe('a server that is away', () => {
  it('for a day is tried ever more rarely, and then gets all with few transactions', async () => {
    const [a, b] = pair()
    const rooms = [await sharedRoom(), await sharedRoom(), await sharedRoom()]
    part()
    const said = []
    for (let n = 0; n < 120; n++) {
      const room = rooms[n % 3]
      if (room) said.push(await say(a, room, `${n}`))
      await schedule.advance(12 * minuteMs)
    }
    const tries = network.transactions.length
    expect(tries).toBeGreaterThan(5)
    expect(tries).toBeLessThan(100)
    network.heal()
    const [room] = rooms
    // It says something, so that nobody has to wait for the next try.
    if (room) await say(b, room, 'back again')
    await schedule.advance(2 * minuteMs)
    expect(idsShown(b)).toEqual(expect.arrayContaining(said))
    const sent = network.transactions.slice(tries).filter(({ from }) => from === a.name)
    expect(sent.length).toBeLessThanOrEqual(Math.ceil(said.length / 50) + 1)
    expect(await a.destinations.waiting()).toEqual([])
  }, 60_000)

  it('is found again by itself, before a fourth of the time of its absence has passed', async () => {
    const [a, b] = pair()
    const room = await sharedRoom()
    part()
    const id = await say(a, room, 'is anybody there?')
    await schedule.advance(4 * hourMs)
    network.heal()
    await schedule.advance(hourMs)
    expect(idsShown(b)).toContain(id)
  }, 60_000)

  it('is not given up when the clock jumps back by years meanwhile', async () => {
    const [a, b] = pair()
    const room = await sharedRoom()
    part()
    const id = await say(a, room, 'what time is it?')
    await schedule.advance(10 * minuteMs)
    skewMs = -tenYearsMs
    await schedule.advance(10 * minuteMs)
    network.heal()
    await schedule.advance(10 * minuteMs)
    expect(idsShown(b)).toContain(id)
  }, 60_000)

  it('is not kept from its messages by a clock that jumps forward by years', async () => {
    const [a, b] = pair()
    const room = await sharedRoom()
    part()
    const id = await say(a, room, 'what time is it?')
    await schedule.advance(10 * minuteMs)
    skewMs = tenYearsMs
    network.heal()
    await schedule.advance(10 * minuteMs)
    expect(idsShown(b)).toContain(id)
  }, 60_000)
})
