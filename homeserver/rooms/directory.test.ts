import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseRoomAlias } from '../../spec/ids.ts'
import type { Json, JsonObject } from '../../spec/json.ts'
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

const listed = (list: JsonObject): Json[] => {
  const { chunk } = list
  return Array.isArray(chunk) ? chunk : []
}

it('gives a room names, which its maker and its moderators may take away', async () => {
  const room = await server.rooms.create(alice, { preset: 'public_chat' })
  await server.rooms.join(bob, room, { via: [] })
  const [one, two] = ['#one:here.test', '#two:here.test'].map(parseRoomAlias)
  if (one === undefined || two === undefined) throw new Error('no alias')
  await server.rooms.createAlias(bob, one, room)
  await server.rooms.createAlias(alice, two, room)
  expect(await server.rooms.aliasesOf(bob, room)).toEqual([one, two])
  await expect(server.rooms.createAlias(bob, one, room)).rejects.toMatchObject({ status: 409 })
  await expect(server.rooms.deleteAlias(bob, two)).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
  await server.rooms.deleteAlias(alice, one)
  await expect(server.rooms.resolveAlias(one)).rejects.toMatchObject({ errcode: 'M_NOT_FOUND' })
  await expect(server.rooms.deleteAlias(alice, one)).rejects.toMatchObject({
    errcode: 'M_NOT_FOUND',
  })
  expect((await server.rooms.resolveAlias(two)).servers).toEqual([server.name])
})

it('takes an alias that is deleted out of the names of its room', async () => {
  const alias = parseRoomAlias('#gone:here.test')
  const room = await server.rooms.create(alice, { preset: 'public_chat', roomAliasName: 'gone' })
  const named = async () =>
    (await server.rooms.stateEvent(alice, room, 'm.room.canonical_alias', '')).pdu.content
  expect(await named()).toEqual({ alias })
  await server.rooms.deleteAlias(alice, alias)
  expect(await named()).toEqual({})
})

it('keeps the exclusive aliases of an application service for it', async () => {
  const alias = parseRoomAlias('#_bridge_lounge:here.test')
  const room = await server.rooms.create(alice, {})
  const exclusive = { errcode: 'M_EXCLUSIVE' }
  await expect(server.rooms.createAlias(alice, alias, room)).rejects.toMatchObject(exclusive)
  const named = { roomAliasName: '_bridge_lounge' }
  await expect(server.rooms.create(alice, named)).rejects.toMatchObject(exclusive)
  await server.rooms.createAlias({ ...alice, appservice: 'bridge' }, alias, room)
  expect((await server.rooms.resolveAlias(alias)).room).toBe(room)
})

it('names no room of which the user is not a member, and nothing for other servers', async () => {
  const room = await server.rooms.create(alice, {})
  const alias = parseRoomAlias('#hidden:here.test')
  await expect(server.rooms.createAlias(bob, alias, room)).rejects.toMatchObject({
    errcode: 'M_FORBIDDEN',
  })
  await expect(server.rooms.aliasesOf(bob, room)).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
  const elsewhere = parseRoomAlias('#hidden:there.test')
  await expect(server.rooms.createAlias(alice, elsewhere, room)).rejects.toMatchObject({
    errcode: 'M_INVALID_PARAM',
  })
})

it('lists rooms that moderators publish, the largest first, page by page', async () => {
  const rooms = []
  for (const name of ['Apples', 'Bread', 'Cheese']) {
    const request = { preset: 'public_chat', visibility: 'public', name } as const
    rooms.push(await server.rooms.create(alice, request))
  }
  const [, bread] = rooms
  if (bread === undefined) throw new Error('no room')
  await server.rooms.join(bob, bread, { via: [] })
  await expect(server.rooms.setVisibility(bob, bread, 'private')).rejects.toMatchObject({
    errcode: 'M_FORBIDDEN',
  })
  const first = await server.rooms.publicRooms({ limit: 2 })
  expect(first['total_room_count_estimate']).toBe(3)
  expect(listed(first)[0]).toEqual({
    ...{ guest_can_join: false, join_rule: 'public', name: 'Bread', num_joined_members: 2 },
    ...{ room_id: bread, world_readable: false },
  })
  const { next_batch: since } = first
  const last = await server.rooms.publicRooms({ limit: 2, since: String(since) })
  expect(listed(last)).toHaveLength(1)
  expect(last['next_batch']).toBeUndefined()
  const found = await server.rooms.publicRooms({ limit: 10, term: 'CHEE' })
  expect(listed(found)).toMatchObject([{ name: 'Cheese' }])
})

it('knows the new name of a room at once, and leaves out what was withdrawn', async () => {
  const request = { preset: 'public_chat', visibility: 'public', name: 'Old' } as const
  const room = await server.rooms.create(alice, request)
  const find = async (term: string) => listed(await server.rooms.publicRooms({ limit: 10, term }))
  expect(await find('old')).toHaveLength(1)
  const content = { name: 'Fresh' }
  await server.rooms.send(alice, { room, type: 'm.room.name', stateKey: '', content })
  expect(await find('old')).toHaveLength(0)
  expect(await find('fresh')).toHaveLength(1)
  await server.rooms.setVisibility(alice, room, 'private')
  expect(await find('fresh')).toHaveLength(0)
  await expect(server.rooms.publicRooms({ limit: 1, since: 'x' })).rejects.toMatchObject({
    errcode: 'M_INVALID_PARAM',
  })
})
