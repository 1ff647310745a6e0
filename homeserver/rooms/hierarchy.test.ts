import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { isRoomId, parseRoomAlias, type RoomId, type ServerName } from '../../spec/ids.ts'
import { arrayAt, isObject, type JsonObject, stringAt } from '../../spec/json.ts'
import type { CreateRoomRequest, Requester } from './rooms.ts'
import { deliver, openTestRooms, type TestRooms } from './test-rooms.ts'

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

const open: CreateRoomRequest = { preset: 'public_chat' }
const closed: CreateRoomRequest = { preset: 'private_chat' }
const asSpace = (request: CreateRoomRequest): CreateRoomRequest => ({
  ...request,
  creationContent: { type: 'm.space' },
})
const rule = (content: JsonObject): CreateRoomRequest => ({
  initialState: [{ type: 'm.room.join_rules', content }],
})
const membersOf = (room: RoomId) =>
  rule({ join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: room }] })

async function link(
  on: TestRooms,
  who: Requester,
  space: RoomId,
  child: RoomId,
  more: JsonObject = {},
  via: readonly ServerName[] = [on.name],
) {
  const content = { via: [...via], ...more }
  await on.rooms.send(who, { room: space, type: 'm.space.child', stateKey: child, content })
}

const objects = (value: JsonObject, key: string) => (arrayAt(value, key) ?? []).filter(isObject)
const idsIn = (list: readonly JsonObject[]) => list.map((room) => stringAt(room, 'room_id'))

interface Asked {
  readonly limit?: number
  readonly maxDepth?: number
  readonly suggestedOnly?: boolean
  readonly from?: string
}

async function page(who: Requester, room: RoomId, asked: Asked = {}, on = here) {
  const answer = await on.rooms.spaces.hierarchy(who, room, {
    ...{ suggestedOnly: false, limit: 50 },
    ...asked,
  })
  return { rooms: idsIn(objects(answer, 'rooms')), next: stringAt(answer, 'next_batch'), answer }
}

/** A space with a room, a space with two rooms, and another room. */
async function tree() {
  const root = await here.rooms.create(alice, asSpace({ ...open, name: 'Root' }))
  const first = await here.rooms.create(alice, { ...open, name: 'First' })
  const inner = await here.rooms.create(alice, asSpace(open))
  const [left, right] = [await here.rooms.create(alice, open), await here.rooms.create(alice, open)]
  const last = await here.rooms.create(alice, open)
  await link(here, alice, root, first, { suggested: true, order: 'a' })
  await link(here, alice, root, inner, { order: 'b' })
  await link(here, alice, root, last, { suggested: true, order: 'c' })
  await link(here, alice, inner, left, { order: 'a' })
  await link(here, alice, inner, right, { order: 'b' })
  return { root, first, inner, left, right, last }
}

describe('a walk through a space', () => {
  it('shows what is below it, depth first, with the links', async () => {
    const { root, first, inner, left, right, last } = await tree()
    const { rooms, next, answer } = await page(alice, root)
    expect(rooms).toEqual([root, first, inner, left, right, last])
    expect(next).toBeUndefined()
    const [entry, room] = objects(answer, 'rooms')
    expect(entry).toMatchObject({
      ...{ room_type: 'm.space', name: 'Root', join_rule: 'public', room_version: '12' },
      ...{ num_joined_members: 1, world_readable: false, guest_can_join: false },
    })
    expect(objects(entry ?? {}, 'children_state').map((event) => event['state_key'])).toEqual([
      ...[first, inner, last],
    ])
    expect(room).toMatchObject({ name: 'First', children_state: [] })
  })

  it('goes no deeper than it shall, and only to what is suggested', async () => {
    const { root, first, inner, last } = await tree()
    expect((await page(alice, root, { maxDepth: 1 })).rooms).toEqual([root, first, inner, last])
    expect((await page(alice, root, { maxDepth: 0 })).rooms).toEqual([root])
    expect((await page(alice, root, { suggestedOnly: true })).rooms).toEqual([root, first, last])
  })

  it('goes on from page to page, for the same user and the same question only', async () => {
    const { root, first, inner, left, right, last } = await tree()
    const one = await page(alice, root, { limit: 4 })
    expect(one.rooms).toEqual([root, first, inner, left])
    const from = one.next ?? ''
    expect(await page(alice, root, { from })).toMatchObject({ rooms: [right, last] })
    // A page may be asked for again.
    expect((await page(alice, root, { from, limit: 1 })).rooms).toEqual([right])
    const refused = { errcode: 'M_INVALID_PARAM' }
    await expect(page(carol, root, { from })).rejects.toMatchObject(refused)
    await expect(page(alice, root, { from, maxDepth: 1 })).rejects.toMatchObject(refused)
    await expect(page(alice, root, { from, suggestedOnly: true })).rejects.toMatchObject(refused)
    await expect(page(alice, root, { from: 'another' })).rejects.toMatchObject(refused)
  })

  it('ends in a loop, and shows each room once', async () => {
    const root = await here.rooms.create(alice, asSpace(open))
    const inner = await here.rooms.create(alice, asSpace(open))
    await link(here, alice, root, inner)
    await link(here, alice, inner, root)
    expect((await page(alice, root)).rooms).toEqual([root, inner])
  })

  it('forgets a link that was taken back', async () => {
    const { root, first, inner, last } = await tree()
    const content = {}
    await here.rooms.send(alice, { room: root, type: 'm.space.child', stateKey: inner, content })
    expect((await page(alice, root)).rooms).toEqual([root, first, last])
  })

  it('shows only rooms that the user is in, or may come into', async () => {
    const root = await here.rooms.create(alice, asSpace(open))
    const hidden = await here.rooms.create(alice, closed)
    const forMembers = await here.rooms.create(alice, membersOf(root))
    const forKnockers = await here.rooms.create(alice, rule({ join_rule: 'knock' }))
    for (const room of [hidden, forMembers, forKnockers]) await link(here, alice, root, room)
    expect((await page(alice, root)).rooms).toEqual([root, hidden, forMembers, forKnockers])
    expect((await page(carol, root)).rooms).toEqual([root, forKnockers])
    await here.rooms.join(carol, root, { via: [] })
    expect((await page(carol, root)).rooms).toEqual([root, forMembers, forKnockers])
    await here.rooms.invite(alice, hidden, carol.user, {})
    expect((await page(carol, root)).rooms).toEqual([root, hidden, forMembers, forKnockers])
    await here.rooms.ban(alice, forKnockers, carol.user)
    expect((await page(carol, root)).rooms).toEqual([root, hidden, forMembers])
  })

  it('is refused where the user may not look', async () => {
    const root = await here.rooms.create(alice, asSpace(closed))
    await expect(page(carol, root)).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
  })
})

describe('rooms of another server', () => {
  it('are asked for there, as deep as they go', async () => {
    const root = await here.rooms.create(alice, asSpace(open))
    const far = await there.rooms.create(bob, asSpace({ ...open, name: 'Far' }))
    const farther = await there.rooms.create(bob, { ...open, name: 'Farther' })
    const back = await here.rooms.create(alice, open)
    await link(here, alice, root, far, {}, [there.name])
    await link(there, bob, far, farther, { order: 'a' })
    await link(there, bob, far, back, { order: 'b' }, [here.name])
    const { rooms, answer } = await page(alice, root)
    expect(rooms).toEqual([root, far, farther, back])
    const names = objects(answer, 'rooms').map((room) => stringAt(room, 'name'))
    expect(names).toEqual([undefined, 'Far', 'Farther', undefined])
  })

  it('are passed over when nobody answers for them', async () => {
    const root = await here.rooms.create(alice, asSpace(open))
    const far = await there.rooms.create(bob, open)
    await link(here, alice, root, far, {}, [there.name])
    here.silent.add(there.name)
    expect((await page(alice, root)).rooms).toEqual([root])
    here.silent.delete(there.name)
    expect((await page(alice, root)).rooms).toEqual([root, far])
  })

  it('are asked for several at a time', async () => {
    const root = await here.rooms.create(alice, asSpace(open))
    const far: RoomId[] = []
    for (let count = 0; count < 4; count++) far.push(await there.rooms.create(bob, open))
    for (const room of far) await link(here, alice, root, room, {}, [there.name])
    const { spaces } = there.rooms
    const answer = spaces.forServer
    let running = 0
    let most = 0
    const spy = vi.spyOn(spaces, 'forServer').mockImplementation(async (...asked) => {
      most = Math.max(most, ++running)
      await new Promise((resolve) => setImmediate(resolve))
      running--
      return await answer(...asked)
    })
    expect((await page(alice, root)).rooms).toEqual([root, ...far])
    expect(most).toBeGreaterThan(1)
    expect(spy).toHaveBeenCalledTimes(far.length)
    spy.mockRestore()
  })

  it('for members of a space are shown as soon as their server knows of a member of ours', async () => {
    const space = await here.rooms.create(alice, asSpace(open))
    const far = await there.rooms.create(bob, membersOf(space))
    await link(here, alice, space, far, {}, [there.name])
    expect((await page(alice, space)).rooms).toEqual([space])
    await there.rooms.join(bob, space, { via: [here.name] })
    await deliver(here, there, space)
    expect((await page(alice, space)).rooms).toEqual([space, far])
    // The server may know, and carol is not in the space.
    expect((await page(carol, space)).rooms).toEqual([space])
  })

  it('are told whom they concern: what is closed is named as such, what keeps to itself is not there', async () => {
    const space = await here.rooms.create(alice, asSpace(open))
    const shown = await here.rooms.create(alice, open)
    const hidden = await here.rooms.create(alice, closed)
    const local = await here.rooms.create(alice, {
      ...open,
      creationContent: { 'm.federate': false },
    })
    for (const room of [shown, hidden, local]) await link(here, alice, space, room)
    const answer = await here.rooms.spaces.forServer(there.name, space, false)
    expect(idsIn(objects(answer, 'children'))).toEqual([shown])
    expect(answer['inaccessible_children']).toEqual([hidden, local])
    for (const room of [hidden, local]) {
      await expect(here.rooms.spaces.forServer(there.name, room, false)).rejects.toMatchObject({
        errcode: 'M_NOT_FOUND',
      })
    }
  })

  it('are not told to a server that the room shuts out', async () => {
    const space = await here.rooms.create(alice, asSpace(open))
    const content = { allow: ['*'], deny: [there.name] }
    await here.rooms.send(alice, { room: space, type: 'm.room.server_acl', stateKey: '', content })
    await expect(here.rooms.spaces.forServer(there.name, space, false)).rejects.toMatchObject({
      errcode: 'M_NOT_FOUND',
    })
  })
})

describe('the summary of a room', () => {
  const summary = (who: Requester | undefined, room: RoomId) =>
    here.rooms.spaces.summary(who, room, [there.name])

  it('names the rooms whose members may come in, and what the user is there', async () => {
    const space = await here.rooms.create(alice, asSpace(open))
    const room = await here.rooms.create(alice, membersOf(space))
    expect(await summary(alice, room)).toMatchObject({
      ...{ room_id: room, join_rule: 'restricted', allowed_room_ids: [space], membership: 'join' },
    })
    await expect(summary(carol, room)).rejects.toMatchObject({ errcode: 'M_NOT_FOUND' })
    const { allowed_room_ids: allowed } = await summary(alice, space)
    expect(allowed).toBeUndefined()
    expect(await summary(carol, space)).toMatchObject({ membership: 'leave' })
  })

  it('shows a stranger what anybody may see, by its alias too', async () => {
    const room = await here.rooms.create(alice, { ...open, roomAliasName: 'shown', topic: 'Tea' })
    const alias = parseRoomAlias('#shown:here.test')
    const answer = await here.rooms.spaces.summary(undefined, alias, [])
    expect(answer).toMatchObject({ room_id: room, topic: 'Tea', canonical_alias: alias })
    expect(answer['membership']).toBeUndefined()
    const hidden = await here.rooms.create(alice, closed)
    await expect(summary(undefined, hidden)).rejects.toMatchObject({ errcode: 'M_NOT_FOUND' })
  })

  it('of a room of another server is asked for there', async () => {
    const room = await there.rooms.create(bob, { ...open, name: 'Far', roomAliasName: 'far' })
    expect(await summary(alice, room)).toMatchObject({ name: 'Far', membership: 'leave' })
    const alias = parseRoomAlias('#far:there.test')
    const found = await here.rooms.spaces.summary(alice, alias, [])
    expect(isRoomId(found['room_id']) && found['room_id']).toBe(room)
    await expect(summary(undefined, room)).rejects.toMatchObject({ errcode: 'M_NOT_FOUND' })
  })
})
