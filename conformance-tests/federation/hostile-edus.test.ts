/** EDUs that should not be: none of them has an effect, and none stops the rest of its transaction. */
import { describe, expect, it } from 'vitest'
import { inTimeline, register, unique } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { server } from '../harness/fixtures.ts'
import type { Body } from '../harness/http.ts'
import { createPeer } from '../harness/peer.ts'
import { underTestIsSynapse } from '../harness/settings.ts'

const edu = (type: string, content: unknown) => ({ edu_type: type, content })
const mallory = '@mallory:localhost:2'

/** What each of them claims, if it were believed, would show one of these words. */
const words = ['mallory', 'forged', 'smuggled']

interface Scene {
  readonly roomId: string
  /** A room in which the peer is not. */
  readonly otherRoom: string
  readonly eventId: string
  readonly alice: string
  readonly device: string
  readonly bob: string
  /** A user of the peer who is in no room of the server. */
  readonly stranger: string
}

/** Of users who are not in the room: Synapse believes a server that is there about all its users. */
const ofStrangers = (...edus: Body[]) => (underTestIsSynapse ? [] : edus)

function typing({ roomId, otherRoom, alice, bob, stranger }: Scene): Body[] {
  const one = (content: unknown) => edu('m.typing', content)
  return [
    one({ room_id: roomId, user_id: mallory, typing: true }),
    ...ofStrangers(one({ room_id: roomId, user_id: stranger, typing: true })),
    one({ room_id: otherRoom, user_id: stranger, typing: true }),
    one({ room_id: otherRoom, user_id: bob, typing: true }),
    one({ room_id: roomId, user_id: alice, typing: true }),
  ]
}

function brokenTyping({ roomId, bob }: Scene): Body[] {
  const one = (content: unknown) => edu('m.typing', content)
  return [
    one({ room_id: roomId, user_id: bob, typing: 'forged' }),
    one({ room_id: [roomId], user_id: bob, typing: true }),
    one({ user_id: bob, typing: true }),
    one({ room_id: roomId, typing: true }),
    one([]),
    one(null),
  ]
}

function receipts({ roomId, otherRoom, eventId, alice, bob, stranger }: Scene): Body[] {
  const one = (content: unknown) => edu('m.receipt', content)
  const read = (user: string) => ({
    'm.read': { [user]: { event_ids: [eventId], data: { ts: 1, note: 'forged' } } },
  })
  return [
    one({ [roomId]: read(mallory) }),
    one({ [roomId]: read(alice) }),
    ...ofStrangers(one({ [roomId]: read(stranger) })),
    one({ [otherRoom]: read(bob) }),
  ]
}

function brokenReceipts({ roomId, eventId, bob }: Scene): Body[] {
  const one = (content: unknown) => edu('m.receipt', content)
  const read = (user: string, more: Body = {}) => ({
    'm.read': { [user]: { event_ids: [eventId], data: { ts: 1, note: 'forged' }, ...more } },
  })
  return [
    one({ [roomId]: read(bob, { event_ids: [] }) }),
    one({ [roomId]: read(bob, { event_ids: 'forged' }) }),
    one({ [roomId]: read(bob, { data: { ts: 'forged' } }) }),
    one({ [roomId]: { 'm.read': { 'no user': { event_ids: [eventId], data: { ts: 1 } } } } }),
    one({ [roomId]: 'forged' }),
    one({ 'no room': read(bob) }),
    one('forged'),
  ]
}

function presence({ alice }: Scene): Body[] {
  const one = (push: unknown) => edu('m.presence', { push })
  return [
    one([{ user_id: mallory, presence: 'online', status_msg: 'forged' }]),
    one([{ user_id: alice, presence: 'online', status_msg: 'forged' }]),
  ]
}

function brokenPresence({ bob }: Scene): Body[] {
  const one = (push: unknown) => edu('m.presence', { push })
  return [
    one([{ user_id: bob, presence: 'forged' }]),
    one([{ user_id: bob, presence: 'online', status_msg: { forged: 1 } }]),
    one([{ presence: 'online', status_msg: 'forged' }]),
    one({ forged: true }),
    edu('m.presence', 'forged'),
  ]
}

function toDevices({ alice, device, bob }: Scene): Body[] {
  const one = (content: unknown) => edu('m.direct_to_device', content)
  const messages = { [alice]: { [device]: { smuggled: true } } }
  const whole = { sender: bob, type: 'org.example.smuggled', message_id: unique('m'), messages }
  return [one({ ...whole, sender: mallory }), one({ ...whole, sender: alice })]
}

function brokenToDevices({ alice, device, bob }: Scene): Body[] {
  const one = (content: unknown) => edu('m.direct_to_device', content)
  const messages = { [alice]: { [device]: { smuggled: true } } }
  const whole = { sender: bob, type: 'org.example.smuggled', message_id: unique('m'), messages }
  return [
    one({ ...whole, sender: 5 }),
    one({ ...whole, type: 5 }),
    one({ ...whole, messages: 'smuggled' }),
    one({ ...whole, messages: { [alice]: { [device]: 'smuggled' } } }),
    one({ ...whole, messages: { 'no user': { [device]: { smuggled: true } } } }),
    one({ ...whole, sender: undefined }),
  ]
}

function devices({ alice }: Scene): Body[] {
  const list = (content: unknown) => edu('m.device_list_update', content)
  const keys = (content: unknown) => edu('m.signing_key_update', content)
  return [
    list({ user_id: mallory, device_id: 'D', stream_id: 1 }),
    list({ user_id: alice, device_id: 'FORGED', stream_id: 1, keys: { device_id: 'FORGED' } }),
    keys({ user_id: alice, master_key: { user_id: alice, usage: ['master'], keys: {} } }),
    keys({ user_id: mallory }),
    edu('org.example.forged', { a: 1 }),
    edu('__proto__', { forged: 1 }),
    edu('constructor', {}),
  ]
}

function brokenDevices(): Body[] {
  const list = (content: unknown) => edu('m.device_list_update', content)
  return [list({ user_id: 5 }), list({}), list(null), edu('m.signing_key_update', 'forged')]
}

const broken = itSynapseBreaks(
  'PUT /send/{txnId}, 200: The result of processing the transaction. (It answers 500.)',
)

/** Sends them with an honest event and an honest EDU, and looks at what the user sees of it. */
async function expectNothing(make: (scene: Scene) => Body[]): Promise<void> {
  await using peer = await createPeer()
  const alice = await register(server, 'alice')
  const roomId = await alice.createRoom({ preset: 'public_chat', room_version: '11' })
  const otherRoom = await alice.createRoom({ preset: 'private_chat' })
  const bob = peer.user('bob')
  const room = await peer.join(server, roomId, bob)
  const eventId = await alice.sendText(roomId, 'read me')
  const { next_batch: since } = await alice.syncUntil(
    inTimeline(roomId, ({ state_key }) => state_key === bob),
  )
  const scene: Scene = {
    ...{ roomId, otherRoom, eventId, bob },
    ...{ alice: alice.userId, device: alice.deviceId, stranger: peer.user('mallory') },
  }
  const message = room.append({
    type: 'm.room.message',
    sender: bob,
    content: { body: 'honest' },
  })
  const honest = edu('m.typing', { room_id: roomId, user_id: bob, typing: true })
  const { status, body } = await peer.transact(server, [message], [...make(scene), honest])
  expect(status).toBe(200)
  expect(body).toEqual({ pdus: { [message.id]: {} } })
  let seen = ''
  let ephemerals = ''
  // What is typed and what is said may come in two answers.
  await alice.syncUntil(
    (answer) => {
      seen += JSON.stringify(answer)
      ephemerals += JSON.stringify(answer.rooms.join[roomId]?.ephemeral ?? {})
      return seen.includes('honest') && ephemerals.includes(bob)
    },
    { since },
  )
  const { ephemeral } = (await alice.sync()).rooms.join[roomId] ?? {}
  const typers = ephemeral?.events.find(({ type }) => type === 'm.typing')?.content['user_ids']
  expect(typers).toEqual([bob])
  expect(ephemeral?.events.filter(({ type }) => type === 'm.receipt')).toEqual([])
  for (const word of words) expect(seen).not.toContain(word)
  expect(JSON.stringify((await alice.sync({ since })).rooms.join[otherRoom] ?? {})).not.toContain(
    bob,
  )
}

describe('EDUs that claim what is not theirs to say,', () => {
  it.each([
    ['typing', typing],
    ['receipts', receipts],
    ['presence', presence],
    ['messages to devices', toDevices],
    ['device lists and what nobody knows', devices],
  ])('%s, have no effect, and what comes with them arrives', (_, make) => expectNothing(make))
})

describe('EDUs of the wrong shape,', () => {
  broken.each([
    ['typing', brokenTyping],
    ['receipts', brokenReceipts],
    ['presence', brokenPresence],
    ['messages to devices', brokenToDevices],
    ['device lists', brokenDevices],
  ])('%s, have no effect, and what comes with them arrives', (_, make) => expectNothing(make))
})
