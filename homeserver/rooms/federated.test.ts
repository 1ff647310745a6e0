import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseRoomAlias, parseServerName, type RoomId } from '../../spec/ids.ts'
import { readStrippedState } from './invite-state.ts'
import type { Requester } from './rooms.ts'
import { deliver, openTestRooms, type TestRooms } from './test-rooms.ts'

let here: TestRooms
let there: TestRooms
let alice: Requester
let bob: Requester
beforeAll(async () => {
  const network = new Map()
  here = await openTestRooms('here.test', network)
  there = await openTestRooms('there.test', network)
  alice = here.user('alice')
  bob = there.user('bob')
}, 60_000)
afterAll(async () => {
  await here[Symbol.asyncDispose]()
  await there[Symbol.asyncDispose]()
})

const via = () => ({ via: [here.name] })
const is = async (server: TestRooms, who: Requester, room: RoomId) =>
  (await server.memberships.ofUser(who.user)).get(room)?.membership
const say = (server: TestRooms, who: Requester, room: RoomId, body: string) =>
  server.rooms.send(who, { room, type: 'm.room.message', content: { body } })

describe.each(['10', '11', '12'])('in rooms of version %s', (roomVersion) => {
  it('joins a public room of another server by its alias', async () => {
    there.profiles.set(bob.user, { displayname: 'Bob' })
    const roomAliasName = `open${roomVersion}`
    const room = await here.rooms.create(alice, {
      ...{ preset: 'public_chat', roomVersion, roomAliasName },
    })
    const alias = parseRoomAlias(`#${roomAliasName}:here.test`)
    expect(await there.rooms.join(bob, alias, { via: [] })).toBe(room)
    expect(await is(here, bob, room)).toBe('join')
    expect(await is(there, bob, room)).toBe('join')
    expect(await is(there, alice, room)).toBe('join')
    expect((await there.memberships.ofRoom(room)).get(bob.user)?.displayName).toBe('Bob')
    await say(there, bob, room, 'hello')
    await deliver(there, here, room)
    const page = await here.rooms.messages(alice, room, { dir: 'b', limit: 1 })
    expect(page.chunk[0]?.event.pdu.content['body']).toBe('hello')
  })

  it('takes no room without its members that was asked for with them', async () => {
    const room = await here.rooms.create(alice, { preset: 'public_chat', roomVersion })
    there.sparing.add(here.name)
    try {
      await expect(there.rooms.join(bob, room, via())).rejects.toThrow(/members/)
    } finally {
      there.sparing.clear()
    }
    expect(await there.events.partial.isPartial(room)).toBe(false)
    expect(await is(there, bob, room)).not.toBe('join')
    await there.rooms.join(bob, room, via())
    expect(await is(there, alice, room)).toBe('join')
  })

  it('invites a user of another server, who takes it', async () => {
    const room = await here.rooms.create(alice, { roomVersion, name: 'Kitchen' })
    await here.rooms.invite(alice, room, bob.user, { reason: 'tea' })
    expect(await is(here, bob, room)).toBe('invite')
    expect(await is(there, bob, room)).toBe('invite')
    const stripped = await readStrippedState(there.database.db, room, bob.user)
    const name = stripped.find(({ type }) => type === 'm.room.name')
    expect(name).toEqual({
      ...{ type: 'm.room.name', state_key: '', sender: alice.user, content: { name: 'Kitchen' } },
    })
    await there.rooms.join(bob, room, { via: [] })
    expect(await is(here, bob, room)).toBe('join')
    expect(await is(there, bob, room)).toBe('join')
  })

  it('rejects an invite at the server that sent it', async () => {
    const room = await here.rooms.create(alice, { roomVersion, invite: [bob.user] })
    expect(await is(there, bob, room)).toBe('invite')
    await there.rooms.leave(bob, room)
    expect(await is(here, bob, room)).toBe('leave')
    expect(await is(there, bob, room)).toBe('leave')
  })

  it('rejects an invite alone when that server does not answer', async () => {
    const room = await here.rooms.create(alice, { roomVersion, invite: [bob.user] })
    there.silent.add(here.name)
    try {
      await there.rooms.leave(bob, room)
    } finally {
      there.silent.clear()
    }
    expect(await is(there, bob, room)).toBe('leave')
    expect(await is(here, bob, room)).toBe('invite')
  })

  it('knocks, and is shown what the room is', async () => {
    const joinRule = { type: 'm.room.join_rules', content: { join_rule: 'knock' } }
    const room = await here.rooms.create(alice, {
      ...{ roomVersion, initialState: [joinRule], name: 'Door' },
    })
    await there.rooms.knock(bob, room, via())
    expect(await is(here, bob, room)).toBe('knock')
    expect(await is(there, bob, room)).toBe('knock')
    const stripped = await readStrippedState(there.database.db, room, bob.user)
    expect(stripped.map(({ type }) => type)).toContain('m.room.name')
    await here.rooms.invite(alice, room, bob.user, {})
    expect(await is(there, bob, room)).toBe('invite')
  })

  it('lets a user in whom a member of this server vouches for', async () => {
    const space = await here.rooms.create(alice, { preset: 'public_chat', roomVersion })
    const content = {
      join_rule: 'restricted',
      allow: [{ type: 'm.room_membership', room_id: space }],
    }
    const initialState = [{ type: 'm.room.join_rules', content }]
    const room = await here.rooms.create(alice, { roomVersion, initialState })
    await expect(there.rooms.join(bob, room, via())).rejects.toMatchObject({
      errcode: 'M_FORBIDDEN',
    })
    await there.rooms.join(bob, space, via())
    await there.rooms.join(bob, room, via())
    expect(await is(there, bob, room)).toBe('join')
    expect(await is(here, bob, room)).toBe('join')
  })

  it('reads history from before the join, and comes back after leaving', async () => {
    const room = await here.rooms.create(alice, { preset: 'public_chat', roomVersion })
    for (let at = 0; at < 30; at++) await say(here, alice, room, `old ${at}`)
    await there.rooms.join(bob, room, via())
    const bodies: unknown[] = []
    let from: string | undefined
    for (let pages = 0; pages < 20; pages++) {
      const query = { dir: 'b' as const, limit: 7, ...(from !== undefined && { from }) }
      const page = await there.rooms.messages(bob, room, query)
      for (const { event } of page.chunk) bodies.push(event.pdu.content['body'])
      from = page.end
      if (from === undefined) break
    }
    expect(from).toBeUndefined()
    expect(bodies.filter(Boolean)).toEqual(Array.from({ length: 30 }, (_, at) => `old ${29 - at}`))
    await there.rooms.leave(bob, room)
    await deliver(there, here, room)
    await say(here, alice, room, 'while you were out')
    await there.rooms.join(bob, room, via())
    await say(here, alice, room, 'back')
    await deliver(here, there, room)
    const [latest] = (await there.rooms.messages(bob, room, { dir: 'b', limit: 1 })).chunk
    expect(latest?.event.pdu.content['body']).toBe('back')
  })
})

it('brings a room here once for two who join at the same time', async () => {
  const room = await here.rooms.create(alice, { preset: 'public_chat' })
  const carol = there.user('carol')
  await Promise.all([there.rooms.join(bob, room, via()), there.rooms.join(carol, room, via())])
  await deliver(there, here, room)
  expect([await is(here, bob, room), await is(here, carol, room)]).toEqual(['join', 'join'])
})

it('says whether it cannot tell who may join, or has nobody who may let them in', async () => {
  const restricted = (space: RoomId) => ({
    type: 'm.room.join_rules',
    content: {
      join_rule: 'restricted',
      allow: [{ type: 'm.room_membership', room_id: space }],
    },
  })
  const foreign = await there.rooms.create(bob, { preset: 'public_chat' })
  const unknown = await here.rooms.create(alice, { initialState: [restricted(foreign)] })
  await expect(
    here.remoteMembership.makeJoin(there.name, unknown, bob.user, ['12']),
  ).rejects.toMatchObject({ errcode: 'M_UNABLE_TO_AUTHORISE_JOIN', status: 400 })

  const space = await here.rooms.create(alice, { preset: 'public_chat' })
  await there.rooms.join(bob, space, via())
  const closed = await here.rooms.create(alice, {
    initialState: [restricted(space)],
    roomVersion: '11',
    powerLevelContentOverride: { invite: 200 },
  })
  await expect(
    here.remoteMembership.makeJoin(there.name, closed, bob.user, ['11']),
  ).rejects.toMatchObject({ errcode: 'M_UNABLE_TO_GRANT_JOIN', status: 400 })
})

it('goes on to the next server when one does not answer', async () => {
  const room = await here.rooms.create(alice, { preset: 'public_chat' })
  const away = parseServerName('away.test')
  await there.rooms.join(bob, room, { via: [away, here.name] })
  expect(await is(there, bob, room)).toBe('join')
  const other = await here.rooms.create(alice, { preset: 'public_chat' })
  await expect(there.rooms.join(bob, other, { via: [away] })).rejects.toMatchObject({
    ...{ errcode: 'M_CONNECTION_FAILED', status: 502 },
  })
})

it('invites nobody of another server to a room that does not federate', async () => {
  const creationContent = { 'm.federate': false }
  const room = await here.rooms.create(alice, { creationContent })
  await expect(here.rooms.invite(alice, room, bob.user, {})).rejects.toMatchObject({
    errcode: 'M_FORBIDDEN',
  })
})

it('takes no join for a user of a third server, and no invite that is none', async () => {
  const room = await here.rooms.create(alice, { preset: 'public_chat' })
  const template = await here.remoteMembership.makeJoin(there.name, room, bob.user, ['12'])
  await expect(
    here.remoteMembership.sendJoin(there.name, room, template.event),
  ).rejects.toMatchObject({ errcode: 'M_BAD_JSON' })
  await expect(
    here.remoteMembership.makeJoin(there.name, room, bob.user, ['1', '2']),
  ).rejects.toMatchObject({
    errcode: 'M_INCOMPATIBLE_ROOM_VERSION',
    fields: { room_version: '12' },
  })
  await there.rooms.join(bob, room, via())
  const [event] = await there.rooms.members(bob, room, { membership: 'join' })
  if (event === undefined) throw new Error('no member')
  await expect(
    here.remoteMembership.receiveInvite(there.name, {
      ...{ room, eventId: event.pdu.eventId, roomVersion: '12' },
      ...{ event: event.pdu.json, inviteRoomState: [] },
    }),
  ).rejects.toMatchObject({ errcode: 'M_INVALID_PARAM' })
})

it('says that no server is known when there is none to ask', async () => {
  const room = await here.rooms.create(alice, { preset: 'public_chat' })
  await expect(there.rooms.join(bob, room, { via: [] })).rejects.toMatchObject({
    errcode: 'M_NOT_FOUND',
  })
})

it('tells nobody outside of a room that its members are not all here yet', async () => {
  const network = new Map([[here.name, here]])
  const quick = await openTestRooms('quick.test', network, { fasterJoins: true })
  network.set(quick.name, quick)
  try {
    const room = await here.rooms.create(alice, { preset: 'public_chat' })
    const dora = quick.user('dora')
    quick.sparing.add(here.name)
    await quick.rooms.join(dora, room, via())
    expect(await quick.events.partial.isPartial(room)).toBe(true)
    const stranger = quick.user('stranger')
    const asked = [
      quick.rooms.members(stranger, room, {}),
      quick.rooms.state(stranger, room),
      quick.rooms.stateEvent(stranger, room, 'm.room.member', alice.user),
      quick.rooms.kick(stranger, room, dora.user, undefined),
    ]
    const refused = { errcode: 'M_FORBIDDEN' }
    await Promise.all(asked.map((answer) => expect(answer).rejects.toMatchObject(refused)))
  } finally {
    await quick[Symbol.asyncDispose]()
  }
}, 30_000)
