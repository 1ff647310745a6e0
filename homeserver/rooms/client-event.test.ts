import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseDeviceId, type RoomId } from '../../spec/ids.ts'
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

const room = (roomVersion = '12') =>
  server.rooms.create(alice, { preset: 'public_chat', roomVersion })
const say = (at: RoomId, body: string) =>
  server.rooms.send(alice, { room: at, type: 'm.room.message', content: { body } })

it('shows an event whole, and without its room in a sync', async () => {
  const at = await room()
  const seen = await server.rooms.event(alice, at, await say(at, 'hé "quoted"'))
  const { unsigned, ...shown } = JSON.parse(server.rooms.clientEvent(seen, bob))
  expect(shown).toEqual({
    ...{ type: 'm.room.message', sender: alice.user, content: { body: 'hé "quoted"' } },
    ...{ event_id: seen.event.pdu.eventId, room_id: at },
    origin_server_ts: seen.event.pdu.originServerTs,
  })
  expect(unsigned).toEqual({ age: expect.any(Number), membership: 'join' })
  expect(JSON.parse(server.rooms.clientEvent(seen, bob, 'sync'))).not.toHaveProperty('room_id')
  expect(JSON.parse(server.rooms.clientEvent(seen.event, bob, 'stripped'))).toEqual({
    ...{ type: 'm.room.message', sender: alice.user, content: { body: 'hé "quoted"' } },
    state_key: '',
  })
})

it('names the transaction to the device that sent it and to no other', async () => {
  const at = await room()
  const device = parseDeviceId('PHONE')
  const txn = { device, endpoint: 'send', txnId: 'm1' }
  const draft = { room: at, type: 'm.room.message', content: {}, txn }
  const seen = await server.rooms.event(alice, at, await server.rooms.send(alice, draft))
  const shown = (who: Requester) => JSON.parse(server.rooms.clientEvent(seen, who)).unsigned
  expect(shown({ ...alice, device }).transaction_id).toBe('m1')
  expect(shown(alice).transaction_id).toBeUndefined()
  expect(shown({ ...bob, device }).transaction_id).toBeUndefined()
})

it('tells what a state event replaced', async () => {
  const at = await room()
  const set = (topic: string) =>
    server.rooms.send(alice, { room: at, type: 'm.room.topic', stateKey: '', content: { topic } })
  const first = await set('one')
  const seen = await server.rooms.event(alice, at, await set('two'))
  expect(JSON.parse(server.rooms.clientEvent(seen, alice)).unsigned).toMatchObject({
    ...{ prev_content: { topic: 'one' }, prev_sender: alice.user, replaces_state: first },
  })
  await server.rooms.redact(alice, at, first, undefined)
  expect(JSON.parse(server.rooms.clientEvent(seen, alice)).unsigned).not.toHaveProperty(
    'prev_content',
  )
})

it.each(['10', '11', '12'])(
  'redacts, with the reason beside it, in version %s',
  async (version) => {
    const at = await room(version)
    const target = await say(at, 'oops')
    const before = await server.rooms.event(alice, at, target)
    expect(JSON.parse(server.rooms.clientEvent(before, alice)).content).toEqual({ body: 'oops' })
    const id = await server.rooms.redact(alice, at, target, 'typo')
    const shown = JSON.parse(
      server.rooms.clientEvent(await server.rooms.event(alice, at, target), alice),
    )
    expect(shown.content).toEqual({})
    // Clients of either age find the target of a redaction.
    expect(shown.unsigned.redacted_because).toMatchObject({
      ...{ event_id: id, type: 'm.room.redaction', redacts: target },
      content: { reason: 'typo', redacts: target },
    })
  },
)
