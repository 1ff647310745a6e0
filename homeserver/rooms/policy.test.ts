import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { signingKeyFromSeed } from '../../spec/crypto/ed25519.ts'
import { MatrixError } from '../../spec/errors.ts'
import type { RoomId } from '../../spec/ids.ts'
import { type JsonObject, objectAt } from '../../spec/json.ts'
import { parsePdu, redactedBytesForSignature } from '../../spec/room/event-format.ts'
import { rulesOf } from '../../spec/room/version.ts'
import type { Requester } from './rooms.ts'
import { openTestRooms, type TestRooms } from './test-rooms.ts'

const policyKey = signingKeyFromSeed('ed25519:policy_server', new Uint8Array(32).fill(7))

let here: TestRooms
let there: TestRooms
let alice: Requester
let bob: Requester
let asked: JsonObject[] = []
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

beforeEach(() => {
  asked = []
  there.policy.sign = signed
})

function signed(event: JsonObject): JsonObject {
  asked.push(event)
  if (String(objectAt(event, 'content')?.['body']).includes('spam')) {
    const options = { status: 400, fields: { 'org.example.score': 9 } }
    throw new MatrixError('M_FORBIDDEN', 'It looks like spam', options)
  }
  return signature(event)
}

function signature(event: JsonObject): JsonObject {
  const rules = rulesOf('12')
  if (rules === undefined) throw new Error('no rules')
  const signed = policyKey.sign(redactedBytesForSignature(parsePdu(event, rules), rules))
  return { 'there.test': { 'ed25519:policy_server': signed } }
}

const say = async (who: TestRooms, user: Requester, room: RoomId, body: string) =>
  await who.rooms.send(user, { room, type: 'm.room.message', content: { body } })

/** A room of Alice's in which Bob is, whose server is the room's policy server. */
async function guarded(): Promise<RoomId> {
  const room = await here.rooms.create(alice, { preset: 'public_chat' })
  await there.rooms.join(bob, room, { via: [here.name] })
  const content = { via: 'there.test', public_keys: { ed25519: policyKey.publicKey } }
  await here.rooms.send(alice, { room, type: 'm.room.policy', stateKey: '', content })
  asked = []
  return room
}

it('has the policy server sign what is sent, and sends it once for one transaction', async () => {
  const room = await guarded()
  const txn = { device: here.user('alice').device, endpoint: 'send', txnId: '1' }
  if (txn.device === undefined) throw new Error('no device')
  const draft = { room, type: 'm.room.message', content: { body: 'hello' } }
  const key = { ...txn, device: txn.device }
  const ids = await Promise.all([
    here.rooms.send(alice, { ...draft, txn: key }),
    here.rooms.send(alice, { ...draft, txn: key }),
  ])
  expect(ids[0]).toBe(ids[1])
  expect(asked).toHaveLength(1)
  const event = (await here.events.get([ids[0]])).get(ids[0])
  expect(event?.pdu.json['signatures']).toMatchObject({
    'here.test': {},
    'there.test': { 'ed25519:policy_server': expect.any(String) },
  })
  expect(event?.txn?.id).toBe('1')
})

it('keeps the messages of several people who send at once', async () => {
  const room = await guarded()
  const carol = here.user('carol')
  await here.rooms.join(carol, room, { via: [] })
  const sent = await Promise.all([
    say(here, alice, room, 'one'),
    say(here, carol, room, 'two'),
    say(here, alice, room, 'three'),
  ])
  const page = await here.rooms.messages(alice, room, { dir: 'b', limit: 10 })
  const shown = page.chunk.map(({ event }) => event.pdu.eventId)
  for (const id of sent) expect(shown).toContain(id)
})

it('hands the refusal of the policy server on, and sends nothing', async () => {
  const room = await guarded()
  await expect(say(here, alice, room, 'spam')).rejects.toMatchObject({
    ...{ errcode: 'M_FORBIDDEN', status: 400, message: 'It looks like spam' },
    fields: { 'org.example.score': 9 },
  })
  const page = await here.rooms.messages(alice, room, { dir: 'b', limit: 1 })
  expect(page.chunk[0]?.event.pdu.type).toBe('m.room.policy')
})

it('sends nothing with a signature that is none, or when nobody answers', async () => {
  const room = await guarded()
  there.policy.sign = () => ({ 'there.test': { 'ed25519:policy_server': 'A'.repeat(86) } })
  await expect(say(here, alice, room, 'one')).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
  there.policy.sign = () => ({})
  await expect(say(here, alice, room, 'two')).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
  here.silent.add(there.name)
  try {
    await expect(say(here, alice, room, 'three')).rejects.toMatchObject({
      errcode: 'M_CONNECTION_FAILED',
    })
  } finally {
    here.silent.clear()
  }
})

it('asks nobody about the policy itself, nor a server that is not in the room', async () => {
  const room = await guarded()
  await here.rooms.kick(alice, room, bob.user)
  asked = []
  await say(here, alice, room, 'spam that nobody minds')
  expect(asked).toEqual([])
  const other = await guarded()
  await here.rooms.send(alice, { room: other, type: 'm.room.policy', stateKey: '', content: {} })
  await say(here, alice, other, 'spam without a policy')
  expect(asked).toEqual([])
})

it('soft-fails what comes in and is not recommended, and takes the rest with its signature', async () => {
  const room = await guarded()
  const received = async (body: string) => {
    const id = await say(there, bob, room, body)
    const event = (await there.events.get([id])).get(id)
    if (event === undefined) throw new Error('not sent')
    const receipts = await here.events.receive(there.name, room, [event.pdu.json])
    return { id, receipt: receipts.get(id) }
  }
  const fine = await received('ham')
  expect(fine.receipt).toEqual({ kind: 'accepted' })
  const stored = (await here.events.get([fine.id])).get(fine.id)
  expect(stored?.pdu.json['signatures']).toMatchObject({
    'there.test': { 'ed25519:policy_server': expect.any(String), 'ed25519:1': expect.any(String) },
  })
  const bad = await received('spam')
  expect(bad.receipt?.kind).toBe('soft-failed')
  const page = await here.rooms.messages(alice, room, { dir: 'b', limit: 10 })
  const shown = page.chunk.map(({ event }) => event.pdu.eventId)
  expect(shown).toContain(fine.id)
  expect(shown).not.toContain(bad.id)
})

it('takes what was not recommended when it is sent again and recommended by then', async () => {
  const room = await guarded()
  const id = await say(there, bob, room, 'spam, as it seemed')
  const event = (await there.events.get([id])).get(id)
  if (event === undefined) throw new Error('not sent')
  const send = async () =>
    (await here.events.receive(there.name, room, [event.pdu.json])).get(id)?.kind
  expect([await send(), await send()]).toEqual(['soft-failed', 'soft-failed'])
  there.policy.sign = signature
  expect([await send(), await send()]).toEqual(['accepted', 'known'])
  const page = await here.rooms.messages(alice, room, { dir: 'b', limit: 1 })
  expect(page.chunk[0]?.event.pdu.eventId).toBe(id)
})
