import { describe, expect, it } from 'vitest'
import { inSection, inTimeline, register } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { server } from '../harness/fixtures.ts'
import { isBody } from '../harness/http.ts'
import { createPeer, type Peer } from '../harness/peer.ts'
import type { PeerRoom } from '../harness/room-builder.ts'

const versions = ['10', '11', '12']

function inviteOf(peer: Peer, room: PeerRoom, user: string) {
  const sender = peer.user('creator')
  const event = room.build({
    type: 'm.room.member',
    sender,
    stateKey: user,
    content: { membership: 'invite', is_direct: true },
  })
  const stripped = (type: string) => {
    const json = room.events.get(room.lookUp(type) ?? '')
    return json ? [json] : []
  }
  const body = {
    room_version: room.version,
    event: event.json,
    invite_room_state: [
      ...stripped('m.room.create'),
      ...stripped('m.room.join_rules'),
      ...stripped('m.room.name'),
    ],
  }
  const uri = `/_matrix/federation/v2/invite/${encodeURIComponent(room.roomId)}/${encodeURIComponent(event.id)}`
  return { event, body, uri }
}

describe.each(versions)('an invite from another server, room version %s,', (version) => {
  async function invited() {
    const peer = await createPeer()
    const alice = await register(server, 'alice')
    const room = peer.createRoom(version, {
      joinRule: { join_rule: 'invite' },
      initialState: [{ type: 'm.room.name', stateKey: '', content: { name: 'come over' } }],
    })
    const { event, body, uri } = inviteOf(peer, room, alice.userId)
    const answer = await peer.ask(server, 'PUT', uri, body)
    return { peer, alice, room, event, answer }
  }

  it('is countersigned, and shown with the state that came with it', async () => {
    const { peer, alice, room, answer } = await invited()
    await using _ = peer
    expect(answer.status).toBe(200)
    const signed = isBody(answer.body['event']) ? answer.body['event'] : {}
    expect(Object.keys(Object(signed['signatures'])).sort()).toEqual(
      [peer.name, server.name].sort(),
    )
    const { rooms } = await alice.syncUntil(inSection('invite', room.roomId))
    const state = rooms.invite[room.roomId]?.invite_state.events ?? []
    expect(state).toContainEqual(
      expect.objectContaining({ type: 'm.room.name', content: { name: 'come over' } }),
    )
    expect(state.find(({ state_key }) => state_key === alice.userId)).toMatchObject({
      sender: peer.user('creator'),
      content: { membership: 'invite', is_direct: true },
    })
  })

  it('can be accepted', async () => {
    const { peer, alice, room, event, answer } = await invited()
    await using _ = peer
    const signed = isBody(answer.body['event']) ? answer.body['event'] : {}
    room.add({ id: event.id, json: signed })
    await alice.join(room.roomId)
    await alice.syncUntil(inSection('join', room.roomId))
    const id = room.lookUp('m.room.member', alice.userId) ?? ''
    expect(room.events.get(id)?.['content']).toMatchObject({ membership: 'join' })
  })

  it('can be refused, and the other server hears of it', async () => {
    const { peer, alice, room, event, answer } = await invited()
    await using _ = peer
    const signed = isBody(answer.body['event']) ? answer.body['event'] : {}
    room.add({ id: event.id, json: signed })
    const { next_batch: since } = await alice.syncUntil(inSection('invite', room.roomId))
    await alice.leave(room.roomId)
    const leave = await peer.receives(({ path }) => path.includes('/send_leave/'))
    expect(leave.body).toMatchObject({ state_key: alice.userId, content: { membership: 'leave' } })
    await alice.syncUntil(inSection('leave', room.roomId), { since })
  })
})

describe('an invite', () => {
  it('is refused for a user of another server, a wrong room or no membership', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    const room = peer.createRoom('11')
    const { body } = inviteOf(peer, room, alice.userId)
    const other = inviteOf(peer, room, '@x:elsewhere.example')
    expect((await peer.ask(server, 'PUT', other.uri, other.body)).status).toBeGreaterThanOrEqual(
      400,
    )
    const wrong = `/_matrix/federation/v2/invite/${encodeURIComponent('!x:elsewhere.example')}/%24x`
    expect((await peer.ask(server, 'PUT', wrong, body)).status).toBeGreaterThanOrEqual(400)
    const message = room.build({
      type: 'm.room.message',
      sender: peer.user('creator'),
      content: {},
    })
    const uri = `/_matrix/federation/v2/invite/${encodeURIComponent(room.roomId)}/${encodeURIComponent(message.id)}`
    expect(
      (await peer.ask(server, 'PUT', uri, { ...body, event: message.json })).status,
    ).toBeGreaterThanOrEqual(400)
  })

  it.each(versions)('is taken without a word of its room, version %s', async (version) => {
    await using peer = await createPeer()
    const alice = await register(server)
    const room = peer.createRoom(version, { joinRule: { join_rule: 'invite' } })
    const { body, uri } = inviteOf(peer, room, alice.userId)
    const answer = await peer.ask(server, 'PUT', uri, { ...body, invite_room_state: [] })
    expect(answer.status).toBe(200)
    const { rooms } = await alice.syncUntil(inSection('invite', room.roomId))
    const state = rooms.invite[room.roomId]?.invite_state.events ?? []
    expect(state.find(({ state_key }) => state_key === alice.userId)).toMatchObject({
      content: { membership: 'invite', is_direct: true },
    })
  })

  itSynapseBreaks('PUT /v2/invite, 400: The error code … is M_INCOMPATIBLE_ROOM_VERSION')(
    'into a room of an unknown version is refused by name',
    async () => {
      await using peer = await createPeer()
      const alice = await register(server)
      const { body, uri } = inviteOf(peer, peer.createRoom('11'), alice.userId)
      expect(
        await peer.ask(server, 'PUT', uri, { ...body, room_version: 'unknown' }),
      ).toMatchObject({
        status: 400,
        body: { errcode: 'M_INCOMPATIBLE_ROOM_VERSION' },
      })
    },
  )

  it.each(versions)(
    'to another server carries the room’s state, and comes back signed, version %s',
    async (version) => {
      await using peer = await createPeer()
      const alice = await register(server)
      const bob = peer.user('bob')
      const roomId = await alice.createRoom({
        preset: 'private_chat',
        room_version: version,
        name: 'for bob',
      })
      await alice.invite(roomId, bob)
      const { body } = await peer.receives(({ path }) => path.includes('/v2/invite/'))
      expect(body).toMatchObject({
        room_version: version,
        event: {
          type: 'm.room.member',
          state_key: bob,
          sender: alice.userId,
          content: { membership: 'invite' },
        },
      })
      const stripped: unknown[] = Array.isArray(body['invite_room_state'])
        ? body['invite_room_state']
        : []
      expect(stripped).toContainEqual(
        expect.objectContaining({ type: 'm.room.name', content: { name: 'for bob' } }),
      )
      expect(stripped).toContainEqual(expect.objectContaining({ type: 'm.room.create' }))
      const room = await peer.join(server, roomId, bob)
      await alice.syncUntil(
        inTimeline(
          roomId,
          ({ state_key, content }) => state_key === bob && content['membership'] === 'join',
        ),
      )
      expect(room.version).toBe(version)
    },
  )

  it('that the other server refuses fails', async () => {
    await using peer = await createPeer()
    peer.on('PUT', /invite/, () => ({
      status: 403,
      body: { errcode: 'M_FORBIDDEN', error: 'not wanted' },
    }))
    const alice = await register(server)
    const roomId = await alice.createRoom({ preset: 'private_chat' })
    await expect(alice.invite(roomId, peer.user('bob'))).rejects.toMatchObject({ status: 403 })
    await expect(alice.getState(roomId, 'm.room.member', peer.user('bob'))).rejects.toMatchObject({
      status: 404,
    })
  })
})

describe('leaving over federation', () => {
  it('is asked for with make_leave and done with send_leave', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    const bob = peer.user('bob')
    const roomId = await alice.createRoom({ preset: 'public_chat', room_version: '11' })
    const room = await peer.join(server, roomId, bob)
    const where = `${encodeURIComponent(roomId)}/${encodeURIComponent(bob)}`
    const made = await peer.ask(server, 'GET', `/_matrix/federation/v1/make_leave/${where}`)
    expect(made).toMatchObject({
      status: 200,
      body: { room_version: '11', event: { state_key: bob, content: { membership: 'leave' } } },
    })
    const template = isBody(made.body['event']) ? made.body['event'] : {}
    const leave = room.build({
      type: 'm.room.member',
      sender: bob,
      stateKey: bob,
      content: { membership: 'leave' },
      more: {
        depth: template['depth'],
        prev_events: template['prev_events'],
        auth_events: template['auth_events'],
      },
    })
    const uri = `/_matrix/federation/v2/send_leave/${encodeURIComponent(roomId)}/${encodeURIComponent(leave.id)}`
    const message = room.build({ type: 'm.room.message', sender: bob, content: {} })
    expect((await peer.ask(server, 'PUT', uri, message.json)).status).toBeGreaterThanOrEqual(400)
    expect(await peer.ask(server, 'PUT', uri, leave.json)).toMatchObject({ status: 200 })
    await alice.syncUntil(
      inTimeline(
        roomId,
        ({ state_key, content }) => state_key === bob && content['membership'] === 'leave',
      ),
    )
  })

  it('by a kick reaches the kicked one’s server', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    const bob = peer.user('bob')
    const roomId = await alice.createRoom({ preset: 'public_chat', room_version: '11' })
    await peer.join(server, roomId, bob)
    await alice.kick(roomId, bob)
    await peer.receivesPdu(
      ({ state_key, content }) => state_key === bob && Object(content)['membership'] === 'leave',
    )
    const afterwards = peer.pdus().length
    await alice.sendText(roomId, 'nobody there')
    await alice.syncUntil(inTimeline(roomId, ({ content }) => content['body'] === 'nobody there'))
    expect(peer.pdus().length).toBe(afterwards)
  })

  it('a room of another server is told to that server', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    const room = peer.createRoom('11')
    await alice.join(room.roomId, [peer.name])
    await alice.leave(room.roomId)
    await peer.receivesPdu(
      ({ state_key, content }) =>
        state_key === alice.userId && Object(content)['membership'] === 'leave',
    )
  })
})
