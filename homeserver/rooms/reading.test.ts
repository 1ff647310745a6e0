import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventId, RoomId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { formatSyncToken } from '../../spec/sync/token.ts'
import type { Seen } from '../events/events.ts'
import type { Requester } from './rooms.ts'
import { openTestRooms, type TestRooms } from './test-rooms.ts'

let server: TestRooms
let alice: Requester
let bob: Requester
beforeAll(async () => {
  server = await openTestRooms('here.test')
  alice = server.user('alice')
  bob = server.user('bob')
}, 60_000)
afterAll(() => server[Symbol.asyncDispose]())

const say = (who: Requester, room: RoomId, body: string): Promise<EventId> =>
  server.rooms.send(who, { room, type: 'm.room.message', content: { body } })

const bodies = (list: readonly Seen[]) =>
  list.flatMap(({ event }) => event.pdu.content['body'] ?? [])

async function roomWith(count: number): Promise<{ room: RoomId; ids: EventId[] }> {
  const room = await server.rooms.create(alice, { preset: 'public_chat' })
  const ids: EventId[] = []
  for (let at = 0; at < count; at++) ids.push(await say(alice, room, `${at}`))
  return { room, ids }
}

/** Every page until there is no more, with what each has. */
async function pages(
  who: Requester,
  room: RoomId,
  query: { dir: 'f' | 'b'; limit: number; filter?: JsonObject },
): Promise<(readonly Seen[])[]> {
  const all: (readonly Seen[])[] = []
  for (let from: string | undefined; all.length < 100; ) {
    const page = await server.rooms.messages(who, room, {
      ...query,
      ...(from !== undefined && { from }),
    })
    all.push(page.chunk)
    if (page.end === undefined) return all
    expect(page.end).not.toBe(from)
    from = page.end
  }
  throw new Error('the pages never end')
}

const up = (count: number) => Array.from({ length: count }, (_, at) => `${at}`)

describe('pages of history', () => {
  it.each([1, 3, 10, 100])(
    'show everything once, in either direction, %d at a time',
    async (limit) => {
      const { room } = await roomWith(25)
      const back = (await pages(alice, room, { dir: 'b', limit })).flat()
      const forth = (await pages(alice, room, { dir: 'f', limit })).flat()
      expect(bodies(back)).toEqual(up(25).toReversed())
      expect(bodies(forth)).toEqual(up(25))
      expect(new Set(back.map(({ event }) => event.nr)).size).toBe(back.length)
    },
  )

  it('are full when a filter drops most of what there is', async () => {
    const { room } = await roomWith(60)
    await server.rooms.send(alice, { room, type: 'org.rare', content: { body: 'rare' } })
    const filter = { types: ['m.room.create', 'org.rare'] }
    const [first] = await pages(alice, room, { dir: 'b', limit: 2, filter })
    expect(first?.map(({ event }) => event.pdu.type)).toEqual(['org.rare', 'm.room.create'])
  })

  it('begin at the token of a sync and end at another', async () => {
    const { room, ids } = await roomWith(6)
    const stored = await server.events.get(ids)
    const at = (index: number) => {
      const id = ids[index]
      const position = (id && stored.get(id)?.position) || 0
      return formatSyncToken({ position, toDevice: 0, ephemeral: '' })
    }
    const back = await server.rooms.messages(alice, room, { from: at(3), dir: 'b', limit: 2 })
    expect(bodies(back.chunk)).toEqual(['3', '2'])
    const forth = await server.rooms.messages(alice, room, { from: at(3), dir: 'f', limit: 10 })
    expect(bodies(forth.chunk)).toEqual(['4', '5'])
    const between = { from: at(1), to: at(3), dir: 'f' as const, limit: 10 }
    expect(bodies((await server.rooms.messages(alice, room, between)).chunk)).toEqual(['2', '3'])
  })

  it('bring the members that a lazy client needs', async () => {
    const { room } = await roomWith(2)
    await server.rooms.join(bob, room, { via: [] })
    await say(bob, room, 'hello')
    const filter = { lazy_load_members: true, types: ['m.room.message'] }
    const page = await server.rooms.messages(alice, room, { dir: 'b', limit: 1, filter })
    expect(page.state.map(({ pdu }) => pdu.stateKey)).toEqual([bob.user])
  })

  it('end for somebody who left where they left', async () => {
    const { room } = await roomWith(3)
    await server.rooms.join(bob, room, { via: [] })
    await say(alice, room, 'with bob')
    await server.rooms.leave(bob, room)
    await say(alice, room, 'without bob')
    const set = { type: 'm.room.topic', stateKey: '', content: { topic: 'secret' } }
    await server.rooms.send(alice, { room, ...set })
    const seen = (await pages(bob, room, { dir: 'b', limit: 4 })).flat()
    expect(bodies(seen)).toEqual(['with bob', '2', '1', '0'])
    expect(seen[0]?.event.pdu.content['membership']).toBe('leave')
    const forth = (await pages(bob, room, { dir: 'f', limit: 4 })).flat()
    expect(bodies(forth)).toEqual(['0', '1', '2', 'with bob'])
    const state = await server.rooms.state(bob, room)
    expect(state.map(({ pdu }) => pdu.type)).not.toContain('m.room.topic')
    await expect(server.rooms.stateEvent(bob, room, 'm.room.topic', '')).rejects.toMatchObject({
      errcode: 'M_NOT_FOUND',
    })
  })
})

describe('who may read', () => {
  it('is nobody from outside, unless all the world may', async () => {
    const { room, ids } = await roomWith(1)
    const carol = server.user('carol')
    const [id] = ids
    if (id === undefined) throw new Error('no event')
    for (const read of [
      () => server.rooms.state(carol, room),
      () => server.rooms.members(carol, room, {}),
      () => server.rooms.joinedMembers(carol, room),
      () => server.rooms.messages(carol, room, { dir: 'b', limit: 1 }),
      () => server.rooms.context(carol, room, id, 1),
    ]) {
      await expect(read()).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
    }
    await expect(server.rooms.event(carol, room, id)).rejects.toMatchObject({
      errcode: 'M_NOT_FOUND',
    })
    const content = { history_visibility: 'world_readable' }
    await server.rooms.send(alice, {
      ...{ room, type: 'm.room.history_visibility', stateKey: '', content },
    })
    const later = await say(alice, room, 'to all')
    expect((await server.rooms.event(carol, room, later)).membership).toBe('leave')
    const page = await server.rooms.messages(carol, room, { dir: 'b', limit: 1 })
    expect(bodies(page.chunk)).toEqual(['to all'])
  })

  it('is not somebody who was invited and did not come', async () => {
    const { room } = await roomWith(1)
    await server.rooms.invite(alice, room, bob.user, {})
    await server.rooms.leave(bob, room)
    await expect(server.rooms.state(bob, room)).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
  })
})

it('shows an event with what is around it', async () => {
  const { room, ids } = await roomWith(9)
  const middle = ids[4]
  if (middle === undefined) throw new Error('no event')
  const found = await server.rooms.context(alice, room, middle, 4)
  expect(bodies(found.before)).toEqual(['3', '2'])
  expect(bodies([found.event])).toEqual(['4'])
  expect(bodies(found.after)).toEqual(['5', '6'])
  expect(found.state.map(({ pdu }) => pdu.type)).toContain('m.room.create')
  const older = await server.rooms.messages(alice, room, {
    ...{ from: found.start, dir: 'b', limit: 1 },
  })
  expect(bodies(older.chunk)).toEqual(['1'])
  const newer = await server.rooms.messages(alice, room, {
    ...{ from: found.end, dir: 'f', limit: 1 },
  })
  expect(bodies(newer.chunk)).toEqual(['7'])
})

it('lists members as they are, as they were, and by membership', async () => {
  const { room, ids } = await roomWith(1)
  await server.rooms.join(bob, room, { via: [] })
  const users = async (filter: Parameters<TestRooms['rooms']['members']>[2]) =>
    (await server.rooms.members(alice, room, filter)).map(({ pdu }) => pdu.stateKey).toSorted()
  expect(await users({})).toEqual([alice.user, bob.user])
  await server.rooms.leave(bob, room)
  expect(await users({ membership: 'leave' })).toEqual([bob.user])
  expect(await users({ notMembership: 'leave' })).toEqual([alice.user])
  const [first] = (await server.events.get(ids)).values()
  const at = formatSyncToken({ position: first?.position ?? 0, toDevice: 0, ephemeral: '' })
  expect(await users({ at })).toEqual([alice.user])
  const joined = await server.rooms.joinedMembers(alice, room)
  expect(joined.map(({ user }) => user)).toEqual([alice.user])
})
