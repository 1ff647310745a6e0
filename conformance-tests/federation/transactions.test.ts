import { describe, expect, it } from 'vitest'
import { type Client, eventually, inTimeline, register, unique } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { server } from '../harness/fixtures.ts'
import type { Body } from '../harness/http.ts'
import { finish } from '../harness/pdu.ts'
import { createPeer, type Peer } from '../harness/peer.ts'
import type { PeerRoom } from '../harness/room-builder.ts'

/** Alice has a room here; bob of the peer is in it. */
async function sharedRoom(version = '11', options: Body = {}) {
  const peer = await createPeer()
  const alice = await register(server, 'alice')
  const roomId = await alice.createRoom({
    preset: 'public_chat',
    room_version: version,
    ...options,
  })
  const bob = peer.user('bob')
  const room = await peer.join(server, roomId, bob)
  await alice.syncUntil(inTimeline(roomId, ({ state_key }) => state_key === bob))
  return { peer, alice, roomId, room, bob }
}

const text = (sender: string, body: string) => ({
  type: 'm.room.message',
  sender,
  content: { msgtype: 'm.text', body },
})

const idsHere = async (client: Client, roomId: string) =>
  (await client.messages(roomId, { limit: 50 })).chunk.map(({ event_id }) => event_id)

/** Sends a last good message and waits for it, so that everything before it has been dealt with. */
async function settle(peer: Peer, room: PeerRoom, alice: Client, bob: string): Promise<void> {
  const mark = room.append(text(bob, unique('mark')))
  await peer.transact(server, [mark])
  await eventually(
    () => idsHere(alice, room.roomId),
    (ids) => ids.includes(mark.id),
  )
}

describe('a transaction', () => {
  it('brings its events in their order', async () => {
    const { peer, alice, roomId, room, bob } = await sharedRoom()
    await using _ = peer
    const { next_batch: since } = await alice.sync()
    const sent = Array.from({ length: 10 }, (_, i) => room.append(text(bob, `message ${i}`)))
    const { status, body } = await peer.transact(server, sent)
    expect(status).toBe(200)
    expect(body).toEqual({ pdus: Object.fromEntries(sent.map(({ id }) => [id, {}])) })
    const last = sent.at(-1)?.id ?? ''
    await eventually(
      () => idsHere(alice, roomId),
      (ids) => ids.includes(last),
    )
    const answer = await alice.sync({ since, filter: { room: { timeline: { limit: 50 } } } })
    expect(answer.rooms.join[roomId]?.timeline.events.map(({ event_id }) => event_id)).toEqual(
      sent.map(({ id }) => id),
    )
  })

  it('that comes twice has one effect', async () => {
    const { peer, alice, roomId, room, bob } = await sharedRoom()
    await using _ = peer
    const message = room.append(text(bob, 'once'))
    const txn = unique('txn')
    const first = await peer.transact(server, [message], [], txn)
    const second = await peer.transact(server, [message], [], txn)
    const third = await peer.transact(server, [message])
    expect([first.status, second.status, third.status]).toEqual([200, 200, 200])
    await settle(peer, room, alice, bob)
    expect((await idsHere(alice, roomId)).filter((id) => id === message.id)).toHaveLength(1)
  })

  it('may be empty', async () => {
    await using peer = await createPeer()
    expect(await peer.transact(server, [])).toMatchObject({ status: 200, body: { pdus: {} } })
  })

  it.each([
    ['more than 50 events', { pdus: Array.from({ length: 51 }, () => ({})) }],
    [
      'more than 100 EDUs',
      { pdus: [], edus: Array.from({ length: 101 }, () => ({ edu_type: 'x', content: {} })) },
    ],
  ])('with %s is refused', async (_, more) => {
    await using peer = await createPeer()
    const body = { origin: peer.name, origin_server_ts: Date.now(), ...more }
    const { status } = await peer.ask(
      server,
      'PUT',
      `/_matrix/federation/v1/send/${unique('t')}`,
      body,
    )
    expect(status).toBe(400)
  })

  const good = { a: 'good event' }
  it.each([
    ['an empty event', {}, good],
    ['an event of the wrong types', { room_id: 7, type: [], content: 'x' }, good],
    [
      'an EDU of the wrong types',
      good,
      { edu_type: 'm.typing', content: { room_id: 1, user_id: [] } },
    ],
    ['an event without a type', { room_id: '!x:elsewhere.example' }, good],
    ['an EDU that nobody knows', good, { edu_type: 'org.example.unknown', content: { a: 1 } }],
  ])('with %s still brings the good ones', carriesOn)

  itSynapseBreaks(
    'The sending server must wait and retry for a 200 OK response (it answers 500, and the good events are never taken)',
  ).each([['an EDU without a type', good, { nonsense: true }]])(
    'with %s still brings the good ones',
    carriesOn,
  )

  async function carriesOn(_: string, pdu: Body, edu: Body) {
    const { peer, alice, roomId, room, bob } = await sharedRoom()
    await using _peer = peer
    const message = room.append(text(bob, 'good'))
    const pdus = pdu === good ? [message] : [{ id: 'none', json: pdu }, message]
    const { status } = await peer.transact(server, pdus, edu === good ? [] : [edu])
    expect(status).toBe(200)
    await eventually(
      () => idsHere(alice, roomId),
      (ids) => ids.includes(message.id),
    )
  }
})

describe.each(['10', '11', '12'])(
  'an event from another server, in room version %s,',
  (version) => {
    it('is redacted when its hash is wrong', async () => {
      const { peer, alice, roomId, room, bob } = await sharedRoom(version)
      await using _ = peer
      const honest = room.build(text(bob, 'honest'))
      const changed = {
        id: honest.id,
        json: { ...honest.json, content: { msgtype: 'm.text', body: 'changed on the way' } },
      }
      room.add(honest)
      await peer.transact(server, [changed])
      const event = await eventually(
        () => alice.event(roomId, honest.id),
        () => true,
      )
      expect(event.content).toEqual({})
    })

    it('is dropped when its signature is wrong, and stops no other', async () => {
      const { peer, alice, roomId, room, bob } = await sharedRoom(version)
      await using _ = peer
      const honest = room.build(text(bob, 'unsigned'))
      const broken = {
        id: honest.id,
        json: { ...honest.json, signatures: { [peer.name]: { [peer.key.id]: 'B'.repeat(86) } } },
      }
      const good = room.append(text(bob, 'good'))
      const { status, body } = await peer.transact(server, [broken, good])
      expect(status).toBe(200)
      expect(Object(body['pdus'])[good.id]).toEqual({})
      await settle(peer, room, alice, bob)
      const ids = await idsHere(alice, roomId)
      expect(ids).toContain(good.id)
      expect(ids).not.toContain(honest.id)
    })

    it('is rejected when its auth events do not allow it', async () => {
      const { peer, alice, roomId, room, bob } = await sharedRoom(version)
      await using _ = peer
      const forbidden = room.build({
        type: 'm.room.name',
        stateKey: '',
        sender: bob,
        content: { name: 'taken over' },
      })
      const stranger = room.build(text(peer.user('stranger'), 'I never joined'))
      const good = room.append(text(bob, 'good'))
      await peer.transact(server, [forbidden, stranger, good])
      await settle(peer, room, alice, bob)
      const ids = await idsHere(alice, roomId)
      expect(ids).toContain(good.id)
      expect(ids).not.toContain(forbidden.id)
      expect(ids).not.toContain(stranger.id)
      expect((await alice.ask('GET', alice.room(roomId, 'state', 'm.room.name', ''))).status).toBe(
        404,
      )
      expect((await alice.ask('GET', alice.room(roomId, 'event', forbidden.id))).status).toBe(404)
    })

    it('is rejected when it builds on a rejected one', async () => {
      const { peer, alice, roomId, room, bob } = await sharedRoom(version)
      await using _ = peer
      const levels = room.lookUp('m.room.power_levels') ?? ''
      const mine = room.lookUp('m.room.member', bob) ?? ''
      const create = version === '12' ? [] : [room.lookUp('m.room.create') ?? '']
      const rejected = room.build({
        type: 'm.room.power_levels',
        stateKey: '',
        sender: bob,
        content: { users: { [bob]: 100 } },
        auth: [...create, levels, mine],
      })
      const child = room.build({
        type: 'm.room.name',
        stateKey: '',
        sender: bob,
        content: { name: 'mine' },
        auth: [...create, rejected.id, mine],
      })
      room.events.set(rejected.id, rejected.json)
      await peer.transact(server, [rejected, child])
      await settle(peer, room, alice, bob)
      const ids = await idsHere(alice, roomId)
      expect(ids).not.toContain(child.id)
      expect((await alice.ask('GET', alice.room(roomId, 'state', 'm.room.name', ''))).status).toBe(
        404,
      )
    })

    it('is soft-failed when only the current state forbids it', async () => {
      const { peer, alice, roomId, room, bob } = await sharedRoom(version)
      await using _ = peer
      const tips = [...room.tips]
      const { depth } = room
      await alice.ban(roomId, bob)
      await peer.receivesPdu(
        ({ state_key, content }) => state_key === bob && Object(content)['membership'] === 'ban',
      )
      const { next_batch: since } = await alice.sync()
      const late = room.build({ ...text(bob, 'I am not banned yet'), prev: tips, depth: depth + 1 })
      const { body } = await peer.transact(server, [late])
      // A soft-failed event is not an error for the sender.
      expect(Object(body['pdus'])[late.id]).toEqual({})
      const mark = await alice.sendText(roomId, 'mark')
      const answer = await alice.syncUntil(
        inTimeline(roomId, ({ event_id }) => event_id === mark),
        { since },
      )
      expect(JSON.stringify(answer)).not.toContain('I am not banned yet')
      expect(await idsHere(alice, roomId)).not.toContain(late.id)
    })

    it('waits for what is missing before it, which the server asks for', async () => {
      const { peer, alice, roomId, room, bob } = await sharedRoom(version)
      await using _ = peer
      const hidden = [1, 2, 3].map((i) => room.append(text(bob, `hidden ${i}`)))
      const shown = room.append(text(bob, 'shown'))
      await peer.transact(server, [shown])
      await eventually(
        () => idsHere(alice, roomId),
        (ids) => ids.includes(shown.id),
      )
      const ids = await idsHere(alice, roomId)
      expect(ids.slice(0, 4)).toEqual([shown, ...hidden.toReversed()].map(({ id }) => id))
      const asked = await peer.receives(({ path }) => path.includes('/get_missing_events/'))
      expect(asked.body).toMatchObject({
        latest_events: [shown.id],
        earliest_events: expect.any(Array),
      })
    })

    it('is taken with the state the other server names, when the gap is too deep', async () => {
      const { peer, alice, roomId, room, bob } = await sharedRoom(version)
      await using _ = peer
      room.append(text(bob, 'lost 1'))
      room.append(text(bob, 'lost 2'))
      const last = room.append(text(bob, 'found again'))
      const shown = room.append(text(bob, 'after the gap'))
      peer.on('POST', /get_missing_events/, () => ({ events: [last.json] }))
      await peer.transact(server, [shown])
      await eventually(
        () => idsHere(alice, roomId),
        (ids) => ids.includes(shown.id),
      )
      await peer.receives(({ path }) => path.includes('/state'))
      expect(await alice.getState(roomId, 'm.room.member', bob)).toMatchObject({
        membership: 'join',
      })
    })

    it('is refused above 65,536 bytes', async () => {
      const { peer, alice, roomId, room, bob } = await sharedRoom(version)
      await using _ = peer
      const huge = room.build({
        type: 'm.room.message',
        sender: bob,
        content: { body: 'x'.repeat(66_000) },
      })
      await peer.transact(server, [huge])
      await settle(peer, room, alice, bob)
      expect(await idsHere(alice, roomId)).not.toContain(huge.id)
    })

    it('is refused with numbers that canonical JSON does not have', async () => {
      const { peer, alice, roomId, room, bob } = await sharedRoom(version)
      await using _ = peer
      const half = room.build({ type: 'org.example.half', sender: bob, content: { half: 1.5 } })
      await peer.transact(server, [half])
      await settle(peer, room, alice, bob)
      expect(await idsHere(alice, roomId)).not.toContain(half.id)
    })

    it('is refused from a server that is not in the room, and for a sender of another server', async () => {
      const { peer, alice, roomId, room, bob } = await sharedRoom(version)
      await using _ = peer
      await using other = await createPeer()
      const foreign = finish(
        room.template(text(other.user('mallory'), 'not in the room')),
        version,
        other.name,
        other.key,
      )
      await other.transact(server, [foreign])
      const forged = room.build(text(alice.userId, 'alice never said this'))
      await peer.transact(server, [forged])
      await settle(peer, room, alice, bob)
      const ids = await idsHere(alice, roomId)
      expect(ids).not.toContain(foreign.id)
      expect(ids).not.toContain(forged.id)
    })
  },
)

describe('forks', () => {
  it('are joined by the next event sent here', async () => {
    const { peer, alice, roomId, room, bob } = await sharedRoom()
    await using _ = peer
    const prev = [...room.tips]
    const left = room.build({ ...text(bob, 'left'), prev })
    const right = room.build({ ...text(bob, 'right'), prev })
    room.add(left)
    room.add(right, [left.id])
    await peer.transact(server, [left, right])
    await eventually(
      () => idsHere(alice, roomId),
      (ids) => ids.includes(left.id) && ids.includes(right.id),
    )
    await alice.sendText(roomId, 'together')
    const pdu = await peer.receivesPdu(({ content }) => Object(content)['body'] === 'together')
    expect(new Set(room.idsOf(pdu['prev_events']))).toEqual(new Set([left.id, right.id]))
  })

  it('in the state are resolved: who has more power wins', async () => {
    const { peer, alice, roomId, room, bob } = await sharedRoom('11', {
      power_level_content_override: { events: { 'm.room.topic': 0 } },
    })
    await using _ = peer
    const prev = [...room.tips]
    const { depth } = room
    // Alice bans bob on her side while bob, on his, sets the topic.
    await alice.ban(roomId, bob)
    const topic = room.build({
      type: 'm.room.topic',
      stateKey: '',
      sender: bob,
      content: { topic: 'bob was here' },
      prev,
      depth: depth + 1,
    })
    await peer.transact(server, [topic])
    await alice.sendText(roomId, 'after')
    expect((await alice.ask('GET', alice.room(roomId, 'state', 'm.room.topic', ''))).status).toBe(
      404,
    )
    expect(await alice.getState(roomId, 'm.room.member', bob)).toMatchObject({ membership: 'ban' })
  })
})
