/** Limits of the specification, each at its value and just beyond it. */
import { describe, expect, it } from 'vitest'
import { type Client, eventually, inTimeline, register, unique } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { server } from '../harness/fixtures.ts'
import type { Body } from '../harness/http.ts'
import { createPeer } from '../harness/peer.ts'
import type { Draft, PeerRoom } from '../harness/room-builder.ts'

async function sharedRoom() {
  const peer = await createPeer()
  const alice = await register(server, 'alice')
  const roomId = await alice.createRoom({
    preset: 'public_chat',
    room_version: '11',
    power_level_content_override: { state_default: 0 },
  })
  const bob = peer.user('bob')
  const room = await peer.join(server, roomId, bob)
  await alice.syncUntil(inTimeline(roomId, ({ state_key }) => state_key === bob))
  return { peer, alice, roomId, room, bob }
}

const text = (sender: string, content: Body = {}): Draft => ({
  type: 'm.room.message',
  sender,
  content: { msgtype: 'm.text', body: 'x', ...content },
})

async function idsHere(alice: Client, roomId: string): Promise<string[]> {
  return (await alice.messages(roomId, { limit: 50 })).chunk.map(({ event_id }) => event_id)
}

/** A message of exactly so many bytes of canonical JSON, signature and all. */
function ofSize(room: PeerRoom, sender: string, bytes: number) {
  const stampless = { origin_server_ts: Date.now() }
  const bare = room.build({ ...text(sender, { padding: '' }), more: stampless })
  const padding = 'x'.repeat(bytes - room.size(bare.json))
  const pdu = room.build({ ...text(sender, { padding }), more: stampless })
  expect(room.size(pdu.json)).toBe(bytes)
  return pdu
}

type Make = (room: PeerRoom, bob: string) => ReturnType<PeerRoom['build']>

async function expectDue(make: Make, isTaken: boolean): Promise<void> {
  const { peer, alice, roomId, room, bob } = await sharedRoom()
  await using _peer = peer
  const pdu = make(room, bob)
  await peer.transact(server, [pdu])
  const mark = room.build(text(bob, { body: unique('mark') }))
  await peer.transact(server, [mark])
  await eventually(
    () => idsHere(alice, roomId),
    (ids) => ids.includes(mark.id),
  )
  expect((await idsHere(alice, roomId)).includes(pdu.id)).toBe(isTaken)
}

describe('an event', () => {
  const shared = (length: number, prefix = '') => prefix + 'x'.repeat(length - prefix.length)
  const state = (sender: string, more: Partial<Draft>): Draft => ({
    ...{ type: 'org.example.state', stateKey: '', sender, content: {} },
    ...more,
  })

  const largest = itSynapseBreaks(
    'The complete event MUST NOT be larger than 65536 bytes. (It counts an `unsigned` that nobody sent.)',
  )
  largest('of 65,536 bytes is taken', async () => {
    await expectDue((room, bob) => ofSize(room, bob, 65_536), true)
  })

  it.each<[string, Make, boolean]>([
    ['of 65,537 bytes', (room, bob) => ofSize(room, bob, 65_537), false],
    [
      'with a type of 255 bytes',
      (room, bob) => room.build(state(bob, { type: shared(255) })),
      true,
    ],
    [
      'with a type of 256 bytes',
      (room, bob) => room.build(state(bob, { type: shared(256) })),
      false,
    ],
    [
      'with a state key of 255 bytes',
      (room, bob) => room.build(state(bob, { stateKey: shared(255) })),
      true,
    ],
    [
      'with a state key of 256 bytes',
      (room, bob) => room.build(state(bob, { stateKey: shared(256) })),
      false,
    ],
    [
      'with a state key of 129 characters and 258 bytes',
      (room, bob) => room.build(state(bob, { stateKey: 'é'.repeat(129) })),
      false,
    ],
    [
      'of depth 2^53-1',
      (room, bob) => room.build({ ...text(bob), depth: Number.MAX_SAFE_INTEGER }),
      true,
    ],
    ['of depth 2^53', (room, bob) => room.build({ ...text(bob), depth: 2 ** 53 }), false],
    ['of depth -1', (room, bob) => room.build({ ...text(bob), depth: -1 }), false],
    [
      'with 2^53-1 in its content',
      (room, bob) => room.build(text(bob, { n: Number.MAX_SAFE_INTEGER })),
      true,
    ],
    ['with 2^53 in its content', (room, bob) => room.build(text(bob, { n: 2 ** 53 })), false],
    ['with -2^53 in its content', (room, bob) => room.build(text(bob, { n: -(2 ** 53) })), false],
  ])('%s gets its due', (_, make, isTaken) => expectDue(make, isTaken))

  it.each([
    [20, true],
    [21, false],
  ])('that follows %i others gets its due', async (count, isTaken) => {
    const { peer, alice, roomId, room, bob } = await sharedRoom()
    await using _peer = peer
    const prev = [...room.tips]
    const heads = Array.from({ length: count }, (_, n) =>
      room.build({ ...text(bob, { body: `head ${n}` }), prev }),
    )
    for (const head of heads) room.add(head)
    await peer.transact(server, heads)
    await eventually(
      () => idsHere(alice, roomId),
      (ids) => heads.every(({ id }) => ids.includes(id)),
    )
    const child = room.build({ ...text(bob), prev: heads.map(({ id }) => id) })
    await peer.transact(server, [child])
    const mark = room.build({ ...text(bob, { body: unique('mark') }), prev })
    await peer.transact(server, [mark])
    await eventually(
      () => idsHere(alice, roomId),
      (ids) => ids.includes(mark.id),
    )
    expect((await idsHere(alice, roomId)).includes(child.id)).toBe(isTaken)
  })
})

describe('a transaction', () => {
  it.each([
    [50, 0, 200],
    [51, 0, 400],
    [0, 100, 200],
    [0, 101, 400],
  ])('of %i events and %i others is answered with its due', async (pdus, edus, status) => {
    const { peer, roomId, room, bob } = await sharedRoom()
    await using _peer = peer
    const events = Array.from({ length: pdus }, (_, n) => room.append(text(bob, { n })))
    const typing = {
      edu_type: 'm.typing',
      content: { room_id: roomId, user_id: bob, typing: true },
    }
    const answer = await peer.transact(
      server,
      events,
      Array.from({ length: edus }, () => typing),
    )
    expect(answer.status).toBe(status)
    if (status === 200) {
      expect(answer.body).toEqual({ pdus: Object.fromEntries(events.map(({ id }) => [id, {}])) })
    }
  })
})
