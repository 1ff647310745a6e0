import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FakeClock } from '../platform/fake-clock.ts'
import { silentLogger } from '../platform/log.ts'
import { systemRandom } from '../platform/random.ts'
import type { Requester } from '../rooms/rooms.ts'
import { openTestRooms, type TestRooms } from '../rooms/test-rooms.ts'
import { openTestLog } from '../stream/test-log.ts'
import { createDelays } from './delays.ts'

let here: TestRooms
let alice: Requester

beforeAll(async () => {
  here = await openTestRooms('here.test')
  alice = here.user('alice')
})
afterAll(() => here[Symbol.asyncDispose]())

/** A process with a clock of its own. */
async function open(clock: FakeClock, more: { delayMaxMs?: number; perUserMax?: number } = {}) {
  const { db } = here.database
  const log = await openTestLog(db)
  const delays = createDelays({
    ...{ db, clock, random: systemRandom, writer: log.writer, log: silentLogger },
    ...{ rooms: here.rooms, events: here.events, memberships: here.memberships },
    ...{ delayMaxMs: 60_000, perUserMax: 10, ...more },
  })
  delays.start()
  return {
    delays,
    async [Symbol.asyncDispose]() {
      await delays[Symbol.asyncDispose]()
      await log[Symbol.asyncDispose]()
    },
  }
}

const note = (room: Awaited<ReturnType<TestRooms['rooms']['create']>>, n: number) => ({
  ...{ room, type: 'a.note', content: { n } },
})

async function notesIn(room: Parameters<typeof note>[0]): Promise<unknown[]> {
  const range = { after: 0, upTo: Number.MAX_SAFE_INTEGER, limit: 100 }
  const { events } = await here.events.timeline(room, range)
  return events.filter(({ pdu }) => pdu.type === 'a.note').map(({ pdu }) => pdu.content['n'])
}

/** Lets time pass until the test holds; at most a minute of it. */
async function until(clock: FakeClock, holds: () => Promise<boolean>): Promise<void> {
  await expect
    .poll(
      async () => {
        await clock.advance(100)
        return await holds()
      },
      { timeout: 10_000, interval: 20 },
    )
    .toBe(true)
}

describe('delayed events', () => {
  it('are sent once and in order, though two processes look for them', async () => {
    const clock = new FakeClock()
    await using first = await open(clock)
    await using second = await open(clock)
    const room = await here.rooms.create(alice, {})
    for (const n of [1, 2, 3]) {
      const adding = n === 2 ? second : first
      await adding.delays.add(alice, note(room, n), 1_000 * n)
    }
    expect(await notesIn(room)).toEqual([])
    await until(clock, async () => (await first.delays.of(alice.user)).length === 0)
    expect(await notesIn(room)).toEqual([1, 2, 3])
  })

  it('of a process that is gone are sent by another', async () => {
    const clock = new FakeClock()
    const room = await here.rooms.create(alice, {})
    const gone = await open(clock)
    await gone.delays.add(alice, note(room, 1), 1_000)
    await gone[Symbol.asyncDispose]()
    await using _other = await open(clock)
    await until(clock, async () => (await notesIn(room)).length === 1)
  })

  it('that the room refuses when their time comes are gone', async () => {
    const clock = new FakeClock()
    await using here1 = await open(clock)
    const bob = here.user('bob')
    const room = await here.rooms.create(alice, { preset: 'public_chat' })
    await here.rooms.join(bob, room, { via: [] })
    await here1.delays.add(bob, note(room, 1), 1_000)
    await here.rooms.kick(alice, room, bob.user)
    await until(clock, async () => (await here1.delays.of(bob.user)).length === 0)
    expect(await notesIn(room)).toEqual([])
  })

  it('take back what they redact when their time comes', async () => {
    const clock = new FakeClock()
    await using process = await open(clock)
    const room = await here.rooms.create(alice, {})
    const said = await here.rooms.send(alice, note(room, 1))
    const isRedacted = async () => {
      return (await here.events.get([said])).get(said)?.redactedBy !== undefined
    }
    const redaction = { room, type: 'm.room.redaction', content: { redacts: said } }
    await process.delays.add(alice, redaction, 30_000)
    await clock.advance(20_000)
    expect(await isRedacted()).toBe(false)
    await until(clock, isRedacted)
    const wrong = { ...redaction, content: { redacts: 'nothing' } }
    await expect(process.delays.add(alice, wrong, 10)).rejects.toMatchObject({
      errcode: 'M_INVALID_PARAM',
    })
  })

  it('are bounded in length and number, and for members only', async () => {
    await using process = await open(new FakeClock(), { delayMaxMs: 5_000, perUserMax: 1 })
    const { delays } = process
    const carol = here.user('carol')
    const room = await here.rooms.create(carol, {})
    await expect(delays.add(carol, note(room, 1), 5_001)).rejects.toMatchObject({
      status: 400,
      fields: { 'org.matrix.msc4140.max_delay': 5_000 },
    })
    await delays.add(carol, note(room, 1), 5_000)
    await expect(delays.add(carol, note(room, 2), 5_000)).rejects.toMatchObject({
      errcode: 'M_LIMIT_EXCEEDED',
    })
    await expect(delays.add(here.user('dora'), note(room, 3), 10)).rejects.toMatchObject({
      errcode: 'M_FORBIDDEN',
    })
  })

  it('are not for others to see', async () => {
    await using process = await open(new FakeClock())
    const room = await here.rooms.create(alice, {})
    const id = await process.delays.add(alice, note(room, 1), 50_000)
    expect(await process.delays.get(alice.user, id)).toMatchObject({ delayMs: 50_000 })
    await expect(process.delays.get(here.user('bob').user, id)).rejects.toMatchObject({
      errcode: 'M_NOT_FOUND',
    })
    await process.delays.act(id, 'cancel')
    await expect(process.delays.act(id, 'send')).rejects.toMatchObject({ errcode: 'M_NOT_FOUND' })
  })
})
