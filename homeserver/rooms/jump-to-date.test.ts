import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventId, RoomId } from '../../spec/ids.ts'
import type { Requester } from './rooms.ts'
import { openTestRooms, type TestRooms } from './test-rooms.ts'

let here: TestRooms
let there: TestRooms
let alice: Requester
let bob: Requester
let carol: Requester
beforeAll(async () => {
  const network = new Map()
  here = await openTestRooms('here.test', network)
  there = await openTestRooms('there.test', network)
  alice = here.user('alice')
  bob = there.user('bob')
  carol = here.user('carol')
}, 60_000)
afterAll(async () => {
  await here[Symbol.asyncDispose]()
  await there[Symbol.asyncDispose]()
})

const day = 24 * 3_600_000
const noon = 1_600_000_000_000

const say = (room: RoomId, originServerTs: number) =>
  here.rooms.send(alice, {
    ...{ room, type: 'm.room.message', content: { body: 'x' }, originServerTs },
  })

const find = async (on: TestRooms, who: Requester, room: RoomId, ts: number, dir: 'f' | 'b') =>
  (await on.rooms.eventByTime(who, room, { ts, dir })).pdu.eventId

/** A room with messages of some days, sent in this order. */
async function roomOf(...times: number[]): Promise<{ room: RoomId; ids: EventId[] }> {
  const room = await here.rooms.create(alice, { preset: 'public_chat' })
  const ids: EventId[] = []
  for (const time of times) ids.push(await say(room, time))
  return { room, ids }
}

describe('the event by its time', () => {
  it('is the closest one in the direction, however far', async () => {
    const { room, ids } = await roomOf(noon, noon + day, noon + 400 * day)
    const [first, second, third] = ids
    expect(await find(here, alice, room, noon - 1, 'f')).toBe(first)
    expect(await find(here, alice, room, noon, 'f')).toBe(first)
    expect(await find(here, alice, room, noon + 1, 'f')).toBe(second)
    expect(await find(here, alice, room, noon + 2 * day, 'f')).toBe(third)
    expect(await find(here, alice, room, noon + 399 * day, 'b')).toBe(second)
    expect(await find(here, alice, room, noon, 'b')).toBe(first)
  })

  it('is found though it was sent out of order', async () => {
    const { room, ids } = await roomOf(noon + day, noon, noon + 2 * day)
    expect(await find(here, alice, room, noon + 1, 'f')).toBe(ids[0])
    expect(await find(here, alice, room, noon + 1, 'b')).toBe(ids[1])
  })

  it('is the last or the first of those sent at one time', async () => {
    const { room, ids } = await roomOf(noon, noon, noon)
    expect(await find(here, alice, room, noon, 'b')).toBe(ids[2])
    expect(await find(here, alice, room, noon, 'f')).toBe(ids[0])
  })

  it('is not found beyond the ends of the room', async () => {
    const { room } = await roomOf(noon)
    const none = { errcode: 'M_NOT_FOUND' }
    await expect(find(here, alice, room, noon - 1, 'b')).rejects.toMatchObject(none)
    await expect(find(here, alice, room, Date.now() + day, 'f')).rejects.toMatchObject(none)
    expect(await find(here, alice, room, Number.MAX_SAFE_INTEGER, 'b')).toMatch(/^\$/)
    expect(await find(here, alice, room, 0, 'f')).toMatch(/^\$/)
  })

  it('is nothing to those who may not read the room', async () => {
    const { room } = await roomOf(noon)
    const refused = { errcode: 'M_FORBIDDEN' }
    await expect(find(here, carol, room, noon, 'f')).rejects.toMatchObject(refused)
  })

  it('is one that the user may see', async () => {
    const room = await here.rooms.create(alice, {
      preset: 'public_chat',
      initialState: [
        { type: 'm.room.history_visibility', content: { history_visibility: 'joined' } },
      ],
    })
    await say(room, noon)
    await here.rooms.join(carol, room, { via: [] })
    const seen = await say(room, noon + day)
    expect(await find(here, carol, room, noon, 'f')).toBe(seen)
    await here.rooms.leave(carol, room)
    await say(room, noon + day + 1)
    expect(await find(here, carol, room, noon + 2 * day, 'b')).toBe(seen)
  })
})

describe('the event by its time, on a server that joined later,', () => {
  it('is taken from another server, with what was before it', async () => {
    const { room, ids } = await roomOf(noon, noon + day, noon + 2 * day)
    await there.rooms.join(bob, room, { via: [here.name] })
    expect(await find(there, bob, room, noon + 1, 'f')).toBe(ids[1])
    expect(await find(there, bob, room, noon + 1, 'b')).toBe(ids[0])
    const { event, start } = await there.rooms.context(bob, room, ids[1] ?? missing(), 0)
    expect(event.event.pdu.eventId).toBe(ids[1])
    const { chunk } = await there.rooms.messages(bob, room, { from: start, dir: 'b', limit: 10 })
    expect(chunk.map((seen) => seen.event.pdu.eventId)).toContain(ids[0])
  })

  it('is what is here when nobody else answers', async () => {
    const { room } = await roomOf(noon)
    await there.rooms.join(bob, room, { via: [here.name] })
    there.silent.add(here.name)
    const join = (await there.memberships.ofRoom(room)).get(bob.user)?.eventId
    expect(await find(there, bob, room, noon, 'f')).toBe(join)
    there.silent.delete(here.name)
  })
})

function missing(): never {
  throw new Error('there is no such event')
}
