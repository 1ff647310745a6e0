import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { stateKeyOf } from '../../spec/events/event.ts'
import { parseRoomAlias, type RoomId } from '../../spec/ids.ts'
import type { CreateRoomRequest } from './rooms.ts'
import { openTestRooms, type TestRooms } from './test-rooms.ts'

let server: TestRooms
beforeAll(async () => {
  server = await openTestRooms('here.test')
}, 60_000)
afterAll(() => server[Symbol.asyncDispose]())

const content = async (room: RoomId, type: string, key = '') =>
  (await server.events.currentState(room)).get(stateKeyOf(type, key))?.pdu.content

const make = (request: CreateRoomRequest = {}) => server.rooms.create(server.user('alice'), request)

describe('a new room', () => {
  it('has what its preset says', async () => {
    const open = await make({ preset: 'public_chat' })
    const closed = await make({ preset: 'private_chat' })
    expect(await content(open, 'm.room.join_rules')).toEqual({ join_rule: 'public' })
    expect(await content(open, 'm.room.guest_access')).toBeUndefined()
    expect(await content(closed, 'm.room.join_rules')).toEqual({ join_rule: 'invite' })
    expect(await content(closed, 'm.room.guest_access')).toEqual({ guest_access: 'can_join' })
    expect(await content(closed, 'm.room.history_visibility')).toEqual({
      history_visibility: 'shared',
    })
  })

  it('makes those who are trusted its creators in version 12 and gives them power before', async () => {
    const bob = server.user('bob').user
    const invite = [bob]
    const newer = await make({ preset: 'trusted_private_chat', invite, roomVersion: '12' })
    const older = await make({ preset: 'trusted_private_chat', invite, roomVersion: '11' })
    expect(await content(newer, 'm.room.create')).toMatchObject({ additional_creators: [bob] })
    expect((await content(newer, 'm.room.power_levels'))?.['users']).toEqual({})
    expect((await content(older, 'm.room.power_levels'))?.['users']).toMatchObject({ [bob]: 100 })
  })

  it('takes name, topic, invites, initial state and overrides', async () => {
    const bob = server.user('bob').user
    server.profiles.set(bob, { displayname: 'Bob' })
    const room = await make({
      name: 'Kitchen',
      topic: 'Food',
      invite: [bob],
      isDirect: true,
      initialState: [
        { type: 'm.room.join_rules', content: { join_rule: 'knock' } },
        { type: 'org.example', stateKey: 'x', content: { a: 1 } },
      ],
      powerLevelContentOverride: { events_default: 10 },
      creationContent: { type: 'm.space', 'm.federate': false },
    })
    expect(await content(room, 'm.room.name')).toEqual({ name: 'Kitchen' })
    expect(await content(room, 'm.room.topic')).toEqual({
      topic: 'Food',
      'm.topic': { 'm.text': [{ body: 'Food' }] },
    })
    expect(await content(room, 'm.room.member', bob)).toEqual({
      membership: 'invite',
      is_direct: true,
      displayname: 'Bob',
    })
    expect(await content(room, 'm.room.join_rules')).toEqual({ join_rule: 'knock' })
    expect(await content(room, 'org.example', 'x')).toEqual({ a: 1 })
    expect((await content(room, 'm.room.power_levels'))?.['events_default']).toBe(10)
    expect(await content(room, 'm.room.create')).toMatchObject({
      type: 'm.space',
      'm.federate': false,
    })
  })

  it('is in the directory under its alias, once', async () => {
    const room = await make({ roomAliasName: 'kitchen', visibility: 'public' })
    const alias = parseRoomAlias('#kitchen:here.test')
    expect((await server.rooms.resolveAlias(alias)).room).toBe(room)
    expect(await content(room, 'm.room.canonical_alias')).toEqual({ alias })
    expect(await server.rooms.visibility(room)).toBe('public')
    await expect(make({ roomAliasName: 'kitchen' })).rejects.toMatchObject({
      errcode: 'M_ROOM_IN_USE',
    })
  })

  it('leaves no alias behind when it could not be made', async () => {
    const request = {
      roomAliasName: 'broken',
      initialState: [{ type: 'm.room.power_levels', content: { users: { nobody: 1 } } }],
      roomVersion: '11',
    }
    await expect(make(request)).rejects.toMatchObject({ errcode: 'M_INVALID_ROOM_STATE' })
    await expect(
      server.rooms.resolveAlias(parseRoomAlias('#broken:here.test')),
    ).rejects.toMatchObject({ errcode: 'M_NOT_FOUND' })
    await expect(make({ roomAliasName: 'broken' })).resolves.toBeDefined()
  })

  it('has an id of its own also when its creator makes many at once', async () => {
    const rooms = await Promise.all(Array.from({ length: 5 }, () => make()))
    expect(new Set(rooms).size).toBe(5)
  })

  it.each([
    [{ roomVersion: '99' }, 'M_UNSUPPORTED_ROOM_VERSION'],
    [{ roomAliasName: 'a b' }, 'M_INVALID_PARAM'],
    [{ roomAliasName: 'a:b' }, 'M_INVALID_PARAM'],
    [{ roomVersion: '11', powerLevelContentOverride: { users: {} } }, 'M_BAD_JSON'],
    [{ creationContent: { additional_creators: ['bob'] } }, 'M_INVALID_PARAM'],
  ])('is not made from %j', async (request, errcode) => {
    await expect(make(request)).rejects.toMatchObject({ errcode })
  })
})
