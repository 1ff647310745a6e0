import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  parseDeviceId,
  parseEventId,
  parseRoomAlias,
  parseRoomId,
  type RoomId,
} from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Requester } from './rooms.ts'
import { openTestRooms, type TestRooms } from './test-rooms.ts'

let server: TestRooms
let alice: Requester
let bob: Requester
let room: RoomId
beforeAll(async () => {
  server = await openTestRooms('here.test')
  alice = server.user('alice')
  bob = server.user('bob')
  room = await server.rooms.create(alice, { preset: 'public_chat' })
  await server.rooms.join(bob, room, { via: [] })
}, 60_000)
afterAll(() => server[Symbol.asyncDispose]())

const say = (who: Requester, content: JsonObject) =>
  server.rooms.send(who, { room, type: 'm.room.message', content })
const set = (who: Requester, type: string, content: JsonObject, stateKey = '') =>
  server.rooms.send(who, { room, type, stateKey, content })

describe('sending', () => {
  it('answers a repeated transaction with the first event', async () => {
    const txn = { device: parseDeviceId('D'), endpoint: 'send', txnId: '1' }
    const draft = { room, type: 'm.room.message', content: { body: 'once' }, txn }
    const first = await server.rooms.send(alice, draft)
    expect(await server.rooms.send(alice, draft)).toBe(first)
    expect(await server.rooms.send(bob, draft)).not.toBe(first)
  })

  it('says state that is there already not again', async () => {
    const first = await set(alice, 'm.room.topic', { topic: 'one' })
    expect(await set(alice, 'm.room.topic', { topic: 'one' })).toBe(first)
    expect(await set(alice, 'm.room.topic', { topic: 'two' })).not.toBe(first)
  })

  it('is for those who are in the room', async () => {
    await expect(say(server.user('carol'), {})).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
    const draft = { room: parseRoomId('!unknown'), type: 'm.room.message', content: {} }
    await expect(server.rooms.send(alice, draft)).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
  })

  it.each([
    ['a second create event', 'm.room.create', '', {}, 'M_FORBIDDEN'],
    ['a membership of nobody', 'm.room.member', 'bob', { membership: 'join' }, 'M_INVALID_PARAM'],
    ['a membership that is none', 'm.room.member', '@bob:here.test', {}, 'M_BAD_JSON'],
    ['a number that is no integer', 'org.example', '', { a: 1.5 }, 'M_BAD_JSON'],
    ['what is too large', 'org.example', '', { a: 'x'.repeat(70_000) }, 'M_TOO_LARGE'],
  ])('refuses %s', async (_what, type, stateKey, content, errcode) => {
    await expect(set(alice, type, content, stateKey)).rejects.toMatchObject({ errcode })
  })

  it('changes memberships by their events as by their endpoints', async () => {
    const dave = server.user('dave').user
    const event = await set(alice, 'm.room.member', { membership: 'invite', reason: 'hi' }, dave)
    expect(await set(alice, 'm.room.member', { membership: 'invite', reason: 'hi' }, dave)).toBe(
      event,
    )
    await expect(set(bob, 'm.room.member', { membership: 'ban' }, dave)).rejects.toMatchObject({
      errcode: 'M_FORBIDDEN',
    })
    const nick = { membership: 'join', displayname: 'Nick' }
    await set(bob, 'm.room.member', nick, bob.user)
    expect((await server.memberships.ofRoom(room)).get(bob.user)?.displayName).toBe('Nick')
  })
})

describe('the aliases that a room names', () => {
  it('lead to it', async () => {
    const alias = parseRoomAlias('#writing:here.test')
    const name = (content: JsonObject) => set(alice, 'm.room.canonical_alias', content)
    await expect(name({ alias })).rejects.toMatchObject({ errcode: 'M_BAD_ALIAS' })
    await server.rooms.createAlias(alice, alias, room)
    await name({ alias, alt_aliases: [alias] })
    await expect(name({ alias: 'writing' })).rejects.toMatchObject({ errcode: 'M_INVALID_PARAM' })
    const other = await server.rooms.create(alice, {})
    const draft = { type: 'm.room.canonical_alias', stateKey: '', content: { alias } }
    await expect(server.rooms.send(alice, { room: other, ...draft })).rejects.toMatchObject({
      errcode: 'M_BAD_ALIAS',
    })
  })
})

describe('redacting', () => {
  it("is for one's own events and for those with the power", async () => {
    const own = await say(bob, { body: 'mine' })
    const others = await say(alice, { body: 'hers' })
    await server.rooms.redact(bob, room, own, undefined)
    await expect(server.rooms.redact(bob, room, others, undefined)).rejects.toMatchObject({
      errcode: 'M_FORBIDDEN',
    })
    const second = await say(bob, { body: 'another' })
    await server.rooms.redact(alice, room, second, 'spam')
    const seen = await server.rooms.event(alice, room, second)
    expect(JSON.parse(server.rooms.clientEvent(seen, alice))).toMatchObject({
      content: {},
      unsigned: { redacted_because: { content: { reason: 'spam', redacts: second } } },
    })
  })

  it('needs its target for those without the power, and never takes one of another room', async () => {
    const unknown = parseEventId('$unknown')
    await expect(server.rooms.redact(bob, room, unknown, undefined)).rejects.toMatchObject({
      errcode: 'M_NOT_FOUND',
    })
    const other = await server.rooms.create(alice, {})
    const event = await say(alice, { body: 'here' })
    await expect(server.rooms.redact(alice, other, event, undefined)).rejects.toMatchObject({
      errcode: 'M_INVALID_PARAM',
    })
  })
})
