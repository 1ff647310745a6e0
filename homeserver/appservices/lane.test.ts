import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  parseEventId,
  parseRoomId,
  parseServerName,
  parseUserId,
  type RoomId,
  type UserId,
} from '../../spec/ids.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { silentLogger } from '../platform/log.ts'
import type { MembershipRow } from '../rooms/rooms.ts'
import type { LogRow } from '../stream/log.ts'
import type { Appservice } from './appservices.ts'
import { type Interest, interestOf } from './interest.ts'
import { createLane } from './lane.ts'

let test: TestDatabase
beforeAll(async () => {
  test = await testDatabase()
})
afterAll(() => test[Symbol.asyncDispose]())

const here = parseServerName('here.test')
const within = { timeout: 10_000 }
const everything: Interest = {
  inRoom: async () => true,
  inEvent: async () => true,
  inUser: async () => true,
  forget() {},
}

function serviceOf(id: string): Appservice {
  return {
    ...{ id, sender: parseUserId(`@bot:${here}`), rateLimited: false, url: 'http://service.test' },
    ...{ hsToken: 'secret', hearsEphemeral: true, hearsDevices: true, protocols: [] },
    ...{ covers: () => false, watches: () => false, names: () => false, namesAny: false },
  }
}

const absent = async () => {
  throw new Error('not needed')
}

/** A log in memory, which several processes read, and a service that says what it wants. */
function setUp(id: string) {
  const clock = new FakeClock()
  const rows: LogRow[] = []
  const heard: { txn: number; body: string }[] = []
  const state = { refuses: 0, position: 0, isStuck: false }
  const tail = {
    get position() {
      return state.position
    },
    read: async (after: number, limit: number) =>
      rows.filter(({ position }) => position > after).slice(0, limit),
    oldest: async () => 1,
  }

  function process(interest = everything) {
    let isOurs = true
    const lane = createLane(
      {
        ...{ db: test.db, clock, log: silentLogger, tail },
        asking: {
          async push(_, txn, body, signal) {
            if (state.isStuck) await clock.sleep(60_000, signal)
            if (state.refuses > 0) {
              state.refuses -= 1
              throw new Error('not now')
            }
            heard.push({ txn, body })
          },
        },
        toDevice: { acknowledge: () => {} },
        isOurs: () => isOurs,
        events: { get: absent },
        rooms: { clientEvent: () => '{}', preload: absent },
        memberships: { ofUser: absent },
        receipts: { contentOf: () => undefined },
        encryption: { counts: absent, unusedFallback: absent },
        strippedState: absent,
        ensureUser: absent,
      },
      serviceOf(id),
      interest,
    )
    return { lane, release: () => (isOurs = false), take: () => (isOurs = true) }
  }

  /** Somebody's device keys change: the simplest row that is told of. */
  function append(n: number): LogRow {
    state.position += 1
    const user = parseUserId(`@user${n}:${here}`)
    const row: LogRow = {
      ...{ position: state.position, kind: 'deviceList', user, ref: 'keys', payload: undefined },
    }
    rows.push(row)
    return row
  }

  /** Users whose devices the service was told of, in order. */
  const told = () =>
    heard.flatMap(({ body }) => body.match(/@user\d+/g) ?? []).map((name) => Number(name.slice(5)))
  return { clock, state, heard, process, append, told }
}

describe('what an application service is told', () => {
  it('comes in order, each transaction with the next number', async () => {
    const { process, append, told, heard } = setUp('orderly')
    const { lane } = process()
    lane.wake()
    await expect.poll(async () => (await streams('orderly')).length, within).toBe(1)
    for (const n of [1, 2, 3]) {
      lane.onRows([append(n)])
      await expect.poll(told, within).toContain(n)
    }
    expect(told()).toEqual([1, 2, 3])
    expect(heard.map(({ txn }) => txn)).toEqual([1, 2, 3])
    await lane[Symbol.asyncDispose]()
  })

  it('is the same until it was taken, whatever happens meanwhile', async () => {
    const { clock, state, process, append, told, heard } = setUp('patient')
    const { lane } = process()
    lane.wake()
    await expect.poll(async () => (await streams('patient')).length, within).toBe(1)
    state.refuses = 2
    lane.onRows([append(1)])
    await expect.poll(() => state.refuses, within).toBe(1)
    lane.onRows([append(2)])
    await expect
      .poll(async () => {
        await clock.advance(1_000)
        return told()
      }, within)
      .toEqual([1, 2])
    expect(heard.map(({ txn }) => txn)).toEqual([1, 2])
    await lane[Symbol.asyncDispose]()
  })

  it('goes on with another process where the first has ended', async () => {
    const { process, append, told, state } = setUp('handed on')
    const first = process()
    first.lane.wake()
    await expect.poll(async () => (await streams('handed on')).length, within).toBe(1)
    first.lane.onRows([append(1)])
    await expect.poll(told, within).toEqual([1])
    state.refuses = 1
    first.lane.onRows([append(2)])
    await expect.poll(() => state.refuses, within).toBe(0)
    first.release()
    await first.lane[Symbol.asyncDispose]()
    append(3)
    const second = process()
    second.lane.wake()
    await expect.poll(told, within).toEqual([1, 2, 3])
    await second.lane[Symbol.asyncDispose]()
  })

  it('holds up no process that ends, however long the service takes', async () => {
    const { clock, process, append, state, told } = setUp('stuck')
    const { lane } = process()
    lane.wake()
    await expect.poll(async () => (await streams('stuck')).length, within).toBe(1)
    state.isStuck = true
    lane.onRows([append(1)])
    await expect.poll(() => clock.waiting, within).toBe(1)
    await lane[Symbol.asyncDispose]()
    expect([told(), clock.waiting]).toEqual([[], 0])
  })

  it('is looked at anew by a process that tells the service again', async () => {
    const { process, append, told } = setUp('back again')
    const service = serviceOf('back again')
    const bot = service.sender
    const room = parseRoomId('!room:here.test')
    const joined = new Map<UserId, MembershipRow>()
    const interest = interestOf(
      { ...service, covers: (user) => user === bot },
      {
        clock: new FakeClock(),
        memberships: {
          localJoined: async () => (joined.has(bot) ? [bot] : []),
          ofUser: async (user) => new Map([[room, membershipOf(user, room)]]),
        },
        aliasesIn: async () => [],
      },
    )
    let forgotten = 0
    const forget = () => {
      forgotten += 1
      interest.forget()
    }
    const { lane, release, take } = process({ ...interest, forget })
    lane.wake()
    await expect.poll(async () => (await streams('back again')).length, within).toBe(1)
    lane.onRows([append(1)])
    expect(await interest.inRoom(room)).toBe(false)
    release()
    const before = forgotten
    const forgets = () => {
      lane.wake()
      return forgotten
    }
    await expect.poll(forgets, within).toBeGreaterThan(before)
    // Another process tells of the bot's join.
    joined.set(bot, membershipOf(bot, room))
    take()
    lane.wake()
    lane.onRows([append(2)])
    await expect.poll(told, within).toContain(2)
    await lane[Symbol.asyncDispose]()
  })
})

function membershipOf(user: UserId, room: RoomId): MembershipRow {
  const event = { eventId: parseEventId('$join'), sender: user, position: 1, forgotten: false }
  return { user, room, membership: 'join', since: 1, ...event }
}

const streams = (id: string) => test.db`select 1 from appservice_streams where id = ${id}`
