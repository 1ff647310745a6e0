import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseRoomAlias, type RoomId } from '../../spec/ids.ts'
import type { Membership, Requester } from './rooms.ts'
import { openTestRooms, type TestRooms } from './test-rooms.ts'

let server: TestRooms
let alice: Requester
let bob: Requester
let carol: Requester
beforeAll(async () => {
  server = await openTestRooms('here.test')
  alice = server.user('alice')
  bob = server.user('bob')
  carol = server.user('carol')
}, 60_000)
afterAll(() => server[Symbol.asyncDispose]())

const open = () => server.rooms.create(alice, { preset: 'public_chat' })
const closed = () => server.rooms.create(alice, { preset: 'private_chat' })
const join = (who: Requester, room: RoomId) => server.rooms.join(who, room, { via: [] })
const is = async (who: Requester, room: RoomId): Promise<Membership | undefined> =>
  (await server.memberships.ofUser(who.user)).get(room)?.membership

const refusal = (errcode: string, status = 403) => ({ errcode, status })

describe('joining', () => {
  it('is open in a public room, by id and by alias, and once', async () => {
    const room = await server.rooms.create(alice, { preset: 'public_chat', roomAliasName: 'open' })
    const alias = parseRoomAlias('#open:here.test')
    server.profiles.set(bob.user, { displayname: 'Bob', avatar_url: 'mxc://a/b' })
    expect(await server.rooms.join(bob, alias, { via: [] })).toBe(room)
    const [first] = await server.rooms
      .members(bob, room, { membership: 'join' })
      .then((all) => all.filter(({ pdu }) => pdu.stateKey === bob.user))
    expect(first?.pdu.content).toEqual({
      membership: 'join',
      displayname: 'Bob',
      avatar_url: 'mxc://a/b',
    })
    await join(bob, room)
    const again = (await server.memberships.ofUser(bob.user)).get(room)
    expect(again?.eventId).toBe(first?.pdu.eventId)
    expect(again?.displayName).toBe('Bob')
  })

  it('takes an invite in a closed room', async () => {
    const room = await closed()
    await expect(join(bob, room)).rejects.toMatchObject(refusal('M_FORBIDDEN'))
    await server.rooms.invite(alice, room, bob.user, {})
    expect(await is(bob, room)).toBe('invite')
    await join(bob, room)
    expect(await is(bob, room)).toBe('join')
    await expect(server.rooms.invite(alice, room, bob.user, {})).rejects.toMatchObject(
      refusal('M_FORBIDDEN'),
    )
  })

  it('is for members of another room where the join rule says so', async () => {
    const space = await open()
    const room = await server.rooms.create(alice, {
      initialState: [
        {
          type: 'm.room.join_rules',
          content: {
            join_rule: 'restricted',
            allow: [{ type: 'm.room_membership', room_id: space }],
          },
        },
      ],
    })
    await expect(join(carol, room)).rejects.toMatchObject(refusal('M_FORBIDDEN'))
    await join(carol, space)
    await join(carol, room)
    const member = await server.rooms.stateEvent(carol, room, 'm.room.member', carol.user)
    expect(member.pdu.content['join_authorised_via_users_server']).toBe(alice.user)
  })

  it('lets guests in where guests may come', async () => {
    const guest = { ...server.user('guest'), guest: true }
    const room = await open()
    await expect(join(guest, room)).rejects.toMatchObject(refusal('M_GUEST_ACCESS_FORBIDDEN'))
    const content = { guest_access: 'can_join' }
    await server.rooms.send(alice, { room, type: 'm.room.guest_access', stateKey: '', content })
    await join(guest, room)
    expect(await is(guest, room)).toBe('join')
    await server.rooms.send(alice, {
      ...{ room, type: 'm.room.guest_access', stateKey: '' },
      content: { guest_access: 'forbidden' },
    })
    await expect.poll(() => is(guest, room)).toBe('leave')
    expect(await is(alice, room)).toBe('join')
  })
})

describe('leaving', () => {
  it('rejects an invite, and is no error the second time', async () => {
    const room = await closed()
    await server.rooms.invite(alice, room, bob.user, {})
    await server.rooms.leave(bob, room)
    await server.rooms.leave(bob, room)
    expect(await is(bob, room)).toBe('leave')
  })

  it('is refused to those who have never been there', async () => {
    await expect(server.rooms.leave(carol, await closed())).rejects.toMatchObject(
      refusal('M_FORBIDDEN'),
    )
  })

  it('forgets a room that was left and no other', async () => {
    const room = await open()
    await join(bob, room)
    await expect(server.rooms.forget(bob, room)).rejects.toMatchObject(refusal('M_UNKNOWN', 400))
    await server.rooms.leave(bob, room)
    expect(await server.rooms.state(bob, room)).not.toHaveLength(0)
    await server.rooms.forget(bob, room)
    expect((await server.memberships.ofUser(bob.user)).get(room)?.forgotten).toBe(true)
    await expect(server.rooms.state(bob, room)).rejects.toMatchObject(refusal('M_FORBIDDEN'))
    await join(bob, room)
    expect((await server.memberships.ofUser(bob.user)).get(room)?.forgotten).toBe(false)
  })

  it('ends every membership when an account is closed', async () => {
    const dave = server.user('dave')
    const [one, two] = [await open(), await closed()]
    await join(dave, one)
    await server.rooms.invite(alice, two, dave.user, {})
    await server.rooms.leaveAll(dave.user)
    expect([await is(dave, one), await is(dave, two)]).toEqual(['leave', 'leave'])
  })
})

describe('moderators', () => {
  it('kick only who is in the room', async () => {
    const room = await open()
    await expect(server.rooms.kick(alice, room, bob.user)).rejects.toMatchObject(
      refusal('M_FORBIDDEN'),
    )
    await join(bob, room)
    await server.rooms.kick(alice, room, bob.user, 'noise')
    expect(await is(bob, room)).toBe('leave')
    await expect(server.rooms.kick(alice, room, bob.user)).rejects.toMatchObject(
      refusal('M_FORBIDDEN'),
    )
  })

  it('ban, so that nobody can join or be invited, and take it back', async () => {
    const room = await open()
    await join(bob, room)
    await expect(server.rooms.unban(alice, room, bob.user)).rejects.toMatchObject(
      refusal('M_BAD_STATE'),
    )
    await server.rooms.ban(alice, room, bob.user, 'spam')
    await expect(join(bob, room)).rejects.toMatchObject(refusal('M_FORBIDDEN'))
    await expect(server.rooms.invite(alice, room, bob.user, {})).rejects.toMatchObject(
      refusal('M_FORBIDDEN'),
    )
    await server.rooms.unban(alice, room, bob.user)
    await join(bob, room)
    expect(await is(bob, room)).toBe('join')
  })

  it('are those with the power', async () => {
    const room = await open()
    await join(bob, room)
    await join(carol, room)
    for (const act of [server.rooms.kick, server.rooms.ban]) {
      await expect(act(bob, room, carol.user)).rejects.toMatchObject(refusal('M_FORBIDDEN'))
    }
  })
})

it('lets people knock where the join rule says so', async () => {
  const joinRule = { type: 'm.room.join_rules', content: { join_rule: 'knock' } }
  const room = await server.rooms.create(alice, { initialState: [joinRule] })
  await server.rooms.knock(bob, room, { via: [], reason: 'please' })
  expect(await is(bob, room)).toBe('knock')
  await server.rooms.invite(alice, room, bob.user, {})
  await join(bob, room)
  await expect(server.rooms.knock(carol, await open(), { via: [] })).rejects.toMatchObject(
    refusal('M_FORBIDDEN'),
  )
})

it('carries a new name into the rooms of the user and nothing else of them', async () => {
  const room = await open()
  const other = await closed()
  await join(bob, room)
  await server.rooms.invite(alice, other, bob.user, {})
  await server.rooms.propagateProfile(bob.user, { displayname: 'Robert' })
  const rows = await server.memberships.ofRoom(room)
  expect(rows.get(bob.user)).toMatchObject({ displayName: 'Robert', membership: 'join' })
  expect(rows.get(bob.user)?.avatarUrl).toBeUndefined()
  expect(await is(bob, other)).toBe('invite')
})

it('answers who shares rooms, as memberships change', async () => {
  const erin = server.user('erin')
  const room = await open()
  await join(erin, room)
  expect([...(await server.memberships.sharingWith(erin.user))]).toEqual([alice.user])
  await join(bob, room)
  expect(await server.memberships.sharingWith(erin.user)).toEqual(new Set([alice.user, bob.user]))
  await server.rooms.leave(erin, room)
  expect(await server.memberships.sharingWith(erin.user)).toEqual(new Set())
  expect(new Set(await server.memberships.localJoined(room))).toEqual(
    new Set([alice.user, bob.user]),
  )
})

it('counts who is joined, as memberships change', async () => {
  const erin = server.user('erin')
  const room = await open()
  const counted = async () => ({
    all: await server.memberships.joinedCount(room),
    local: new Set(await server.memberships.localJoined(room)),
  })
  expect(await counted()).toEqual({ all: 1, local: new Set([alice.user]) })
  await join(bob, room)
  await join(erin, room)
  expect(await counted()).toEqual({ all: 3, local: new Set([alice.user, bob.user, erin.user]) })
  await server.rooms.propagateProfile(bob.user, { displayname: 'Bob again' })
  await server.rooms.leave(erin, room)
  expect(await counted()).toEqual({ all: 2, local: new Set([alice.user, bob.user]) })
  await join(erin, room)
  expect(await counted()).toEqual({ all: 3, local: new Set([alice.user, bob.user, erin.user]) })
})

it('keeps since when a membership began, through changes of the name', async () => {
  const room = await open()
  await join(bob, room)
  const first = (await server.memberships.ofRoom(room)).get(bob.user)
  await server.rooms.propagateProfile(bob.user, { displayname: 'Bobby' })
  const second = (await server.memberships.ofRoom(room)).get(bob.user)
  expect(second?.since).toBe(first?.since)
  expect(second?.position).toBeGreaterThan(first?.position ?? 0)
})
