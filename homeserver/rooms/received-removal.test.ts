import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseServerName, type RoomId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Requester } from './rooms.ts'
import { openTestRooms, type TestRooms } from './test-rooms.ts'

let here: TestRooms
let there: TestRooms
let alice: Requester
let anna: Requester
let bob: Requester
beforeAll(async () => {
  const network = new Map()
  here = await openTestRooms('here.test', network)
  there = await openTestRooms('there.test', network)
  alice = here.user('alice')
  anna = here.user('anna')
  bob = there.user('bob')
}, 60_000)
afterAll(async () => {
  await here[Symbol.asyncDispose]()
  await there[Symbol.asyncDispose]()
})

/** A room of Alice and Anna in which Bob is invited by Alice and then removed by `who`; the removal as it is sent. */
async function removedBy(who: Requester): Promise<{ room: RoomId; removal: JsonObject }> {
  const room = await here.rooms.create(alice, { preset: 'private_chat' })
  await here.rooms.invite(alice, room, anna.user, {})
  await here.rooms.join(anna, room, { via: [] })
  const content = { users: { [anna.user]: 50 } }
  await here.rooms.send(alice, { room, type: 'm.room.power_levels', stateKey: '', content })
  await here.rooms.invite(alice, room, bob.user, {})
  await here.rooms.kick(who, room, bob.user)
  const event = await here.events.currentEntry(room, 'm.room.member', bob.user)
  if (event === undefined) throw new Error('no removal')
  return { room, removal: event.pdu.json }
}

const membership = async (room: RoomId) =>
  (await there.memberships.ofUser(bob.user)).get(room)?.membership

it('ends an invite when the one who invited takes it back', async () => {
  const { room, removal } = await removedBy(alice)
  expect(await membership(room)).toBe('invite')
  const id = await there.remoteMembership.receiveRemoval(here.name, room, removal)
  expect(id).toBe((await here.events.currentEntry(room, 'm.room.member', bob.user))?.pdu.eventId)
  expect(await membership(room)).toBe('leave')
})

it('believes nobody else, since the state of the room is not here to judge by', async () => {
  const { room, removal } = await removedBy(anna)
  const { receiveRemoval } = there.remoteMembership
  expect(await receiveRemoval(here.name, room, removal)).toBeUndefined()
  expect(await membership(room)).toBe('invite')
})

it('is not fooled by another server, another room or something that is no event', async () => {
  const { room, removal } = await removedBy(alice)
  const { receiveRemoval } = there.remoteMembership
  expect(await receiveRemoval(there.name, room, removal)).toBeUndefined()
  expect(await receiveRemoval(here.name, room, { ...removal, signatures: {} })).toBeUndefined()
  expect(await receiveRemoval(here.name, room, { type: 'm.room.member' })).toBeUndefined()
  const other = await removedBy(alice)
  expect(await receiveRemoval(here.name, other.room, removal)).toBeUndefined()
  expect(await membership(room)).toBe('invite')
})

it('leaves rooms that are here to their own events', async () => {
  const { room, removal } = await removedBy(alice)
  expect(await here.remoteMembership.receiveRemoval(here.name, room, removal)).toBeUndefined()
})

it('takes the refusal of a knock from a server that has a part in the room, and from no other', async () => {
  const joinRule = { type: 'm.room.join_rules', content: { join_rule: 'knock' } }
  const room = await here.rooms.create(alice, { initialState: [joinRule] })
  await there.rooms.knock(bob, room, { via: [here.name] })
  await here.rooms.kick(alice, room, bob.user)
  const refusal = await here.events.currentEntry(room, 'm.room.member', bob.user)
  if (refusal === undefined) throw new Error('no refusal')
  const { json } = refusal.pdu
  const stranger = parseServerName('stranger.test')
  expect(await there.remoteMembership.receiveRemoval(stranger, room, json)).toBeUndefined()
  expect(await membership(room)).toBe('knock')
  expect(await there.remoteMembership.receiveRemoval(here.name, room, json)).toBe(
    refusal.pdu.eventId,
  )
  expect(await membership(room)).toBe('leave')
})
