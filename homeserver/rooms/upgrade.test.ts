import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { stateKeyOf } from '../../spec/events/event.ts'
import { parseRoomAlias, type RoomId } from '../../spec/ids.ts'
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

const entry = async (room: RoomId, type: string, key = '') =>
  (await server.events.currentState(room)).get(stateKeyOf(type, key))?.pdu
const content = async (room: RoomId, type: string, key = '') =>
  (await entry(room, type, key))?.content
const set = (who: Requester, room: RoomId, type: string, body: object, stateKey = '') =>
  server.rooms.send(who, { room, type, stateKey, content: { ...body } })
const upgrade = (who: Requester, room: RoomId, version: string) =>
  server.rooms.upgrade(who, room, { version })

describe('a room that is replaced', () => {
  it('points to its successor, whose create event names the tombstone where the version lets it', async () => {
    const old = await server.rooms.create(alice, { roomVersion: '10' })
    const next = await upgrade(alice, old, '11')
    const tombstone = await entry(old, 'm.room.tombstone')
    expect(tombstone?.content['replacement_room']).toBe(next)
    expect(await content(next, 'm.room.create')).toEqual({
      room_version: '11',
      predecessor: { room_id: old, event_id: tombstone?.eventId },
    })
  })

  it('gives way in the spaces where the user may say so, and stays elsewhere', async () => {
    const old = await server.rooms.create(alice, { preset: 'public_chat' })
    const via = ['here.test', 'there.test']
    const mine = await server.rooms.create(alice, { creationContent: { type: 'm.space' } })
    await set(alice, mine, 'm.space.child', { via, order: 'a', suggested: true }, old)
    await set(alice, old, 'm.space.parent', { via, canonical: true }, mine)
    const space = { preset: 'public_chat', creationContent: { type: 'm.space' } } as const
    const theirs = await server.rooms.create(bob, space)
    await server.rooms.join(alice, theirs, { via: [] })
    await set(bob, theirs, 'm.space.child', { via }, old)

    const next = await upgrade(alice, old, '12')
    expect(await content(mine, 'm.space.child', next)).toEqual({
      ...{ via: ['here.test'], order: 'a', suggested: true },
    })
    expect(await content(mine, 'm.space.child', old)).toEqual({})
    expect(await content(next, 'm.space.parent', mine)).toEqual({ via, canonical: true })
    expect(await content(theirs, 'm.space.child', next)).toBeUndefined()
    expect(await content(theirs, 'm.space.child', old)).toEqual({ via })
  })

  it('moves its aliases, and keeps those of other servers', async () => {
    const old = await server.rooms.create(alice, { roomAliasName: 'moved', visibility: 'public' })
    const ours = parseRoomAlias('#moved:here.test')
    const next = await upgrade(alice, old, '12')
    expect((await server.rooms.resolveAlias(ours)).room).toBe(next)
    expect(await content(next, 'm.room.canonical_alias')).toEqual({ alias: ours })
    expect(await content(old, 'm.room.canonical_alias')).toEqual({})
    expect(await server.rooms.visibility(next)).toBe('public')
    expect(await server.rooms.visibility(old)).toBe('private')
  })

  it('bans whom it has banned, but nobody who is a creator of the new one', async () => {
    const [eve, carol] = [server.user('eve').user, server.user('carol').user]
    const old = await server.rooms.create(alice, { roomVersion: '11' })
    for (const user of [eve, carol]) await server.rooms.ban(alice, old, user, 'mischief')
    const next = await server.rooms.upgrade(alice, old, {
      version: '12',
      additionalCreators: [carol, alice.user],
    })
    expect(await content(next, 'm.room.member', eve)).toEqual({
      membership: 'ban',
      reason: 'mischief',
    })
    expect(await content(next, 'm.room.member', carol)).toBeUndefined()
    expect((await content(next, 'm.room.create'))?.['additional_creators']).toEqual([carol])
  })

  it('gives its creators a level again in a version that knows no creators', async () => {
    const old = await server.rooms.create(alice, { roomVersion: '12' })
    const next = await upgrade(alice, old, '11')
    const levels = await content(next, 'm.room.power_levels')
    expect(Object(levels?.['users'])[alice.user]).toBeGreaterThanOrEqual(100)
    await set(alice, next, 'm.room.server_acl', { allow: ['*'] })
  })

  it('is made by somebody with less power than its state needs, who has no more afterwards', async () => {
    const old = await server.rooms.create(alice, { preset: 'public_chat', roomVersion: '10' })
    await server.rooms.join(bob, old, { via: [] })
    await set(alice, old, 'm.room.server_acl', { allow: ['*'] })
    const levels = await content(old, 'm.room.power_levels')
    const events = { ...Object(levels?.['events']), 'm.room.tombstone': 50 }
    const users = { [alice.user]: 100, [bob.user]: 50 }
    await set(alice, old, 'm.room.power_levels', { ...levels, events, users })
    const next = await upgrade(bob, old, '11')
    expect(await content(next, 'm.room.server_acl')).toEqual({ allow: ['*'] })
    expect((await content(next, 'm.room.power_levels'))?.['users']).toEqual(users)
  })

  it('is replaced once by two requests at the same time', async () => {
    const old = await server.rooms.create(alice, {})
    const [one, other] = await Promise.all([upgrade(alice, old, '12'), upgrade(alice, old, '12')])
    expect(one).toBe(other)
    const different = await Promise.allSettled([
      upgrade(alice, old, '12'),
      upgrade(alice, old, '11'),
    ])
    expect(different.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  })
})

it('refuses versions that are not offered, and people who may not', async () => {
  const old = await server.rooms.create(alice, { preset: 'public_chat' })
  await expect(upgrade(alice, old, '99')).rejects.toMatchObject({
    errcode: 'M_UNSUPPORTED_ROOM_VERSION',
  })
  await expect(upgrade(bob, old, '12')).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
  await server.rooms.join(bob, old, { via: [] })
  await expect(upgrade(bob, old, '12')).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
  expect(await content(old, 'm.room.tombstone')).toBeUndefined()
})
