import { describe, expect, it } from 'vitest'
import { inSection, inTimeline, register } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { server } from '../harness/fixtures.ts'
import { type Body, isBody, path } from '../harness/http.ts'
import { eventId, type Pdu } from '../harness/pdu.ts'
import { createPeer, type Peer } from '../harness/peer.ts'
import type { PeerRoom } from '../harness/room-builder.ts'

const api = '/_matrix/federation'
const encoded = (...parts: readonly string[]) => parts.map(encodeURIComponent).join('/')
const putMember = (peer: Peer, endpoint: string, room: string, event: Pdu) =>
  peer.ask(server, 'PUT', `${api}/${endpoint}/${encoded(room, event.id)}`, event.json)

/** An event of the peer's user in the place that a template gives it. */
function fromTemplate(room: PeerRoom, answer: Body, user: string): Pdu {
  const template = isBody(answer['event']) ? answer['event'] : {}
  return room.build({
    type: 'm.room.member',
    sender: user,
    stateKey: user,
    content: { ...Object(template['content']), reason: 'let me in' },
    more: {
      depth: template['depth'],
      prev_events: template['prev_events'],
      auth_events: template['auth_events'],
    },
  })
}

const rules = [
  ['knock', '10'],
  ['knock', '11'],
  ['knock', '12'],
  ['knock_restricted', '10'],
] as const

describe.each(rules)('a user of another server, a %s room, version %s', (rule, version) => {
  async function knockable() {
    const peer = await createPeer()
    const alice = await register(server, 'alice')
    const roomId = await alice.createRoom({
      preset: 'public_chat',
      room_version: version,
      name: 'Knock here',
    })
    const room = await peer.join(server, roomId, peer.user('first'))
    await alice.setState(roomId, 'm.room.join_rules', '', { join_rule: rule })
    const bob = peer.user('bob')
    const make = (query = `ver=${version}`) =>
      peer.ask(server, 'GET', `${api}/v1/make_knock/${encoded(roomId, bob)}?${query}`)
    return { peer, alice, roomId, room, bob, make }
  }

  it('knocks with make_knock and send_knock, and is told what the room is', async () => {
    const { peer, alice, roomId, room, bob, make } = await knockable()
    await using _ = peer
    const made = await make()
    expect(made).toMatchObject({
      status: 200,
      body: {
        room_version: version,
        event: { type: 'm.room.member', sender: bob, content: { membership: 'knock' } },
      },
    })
    const knock = fromTemplate(room, made.body, bob)
    const sent = await putMember(peer, 'v1/send_knock', roomId, knock)
    expect(sent.status).toBe(200)
    const state = sent.body['knock_room_state']
    expect(state).toContainEqual(
      expect.objectContaining({ type: 'm.room.name', content: { name: 'Knock here' } }),
    )
    // Each is a whole event, so that the create event proves the room's id.
    const create = (Array.isArray(state) ? state : []).find(
      (event) => Object(event)['type'] === 'm.room.create',
    )
    expect(create).toHaveProperty('signatures')
    await alice.syncUntil(
      inTimeline(
        roomId,
        ({ state_key, content }) => state_key === bob && content['reason'] === 'let me in',
      ),
    )
  })

  it('is not given a template where nobody may knock', async () => {
    const { peer, alice, roomId, make, bob } = await knockable()
    await using _ = peer
    const { status, body } = await make('ver=1&ver=6')
    expect(status).toBe(400)
    expect(body).toMatchObject({ errcode: 'M_INCOMPATIBLE_ROOM_VERSION', room_version: version })
    await alice.ban(roomId, bob)
    expect((await make()).status).toBe(403)
    await alice.unban(roomId, bob)
    await alice.setState(roomId, 'm.room.join_rules', '', { join_rule: 'invite' })
    expect((await make()).status).toBe(403)
  })

  it.each([
    ['v1/send_knock', 'knock'],
    ['v1/send_leave', 'leave'],
    ['v2/send_leave', 'leave'],
    ['v1/send_join', 'join'],
    ['v2/send_join', 'join'],
  ])('sends by %s nothing but a %s of its own', async (endpoint, membership) => {
    const { peer, roomId, room } = await knockable()
    await using _ = peer
    const first = peer.user('first')
    const member = { type: 'm.room.member', sender: first, stateKey: first }
    const others = ['join', 'leave', 'knock', 'invite'].filter((one) => one !== membership)
    const wrong = [
      room.build({ type: 'm.room.message', sender: first, content: { body: 'bzz' } }),
      room.build({ type: 'm.room.member', sender: first, content: { body: 'bzz' } }),
      ...others.map((one) => room.build({ ...member, content: { membership: one } })),
      room.build({ ...member, stateKey: peer.user('doris'), content: { membership } }),
    ]
    for (const event of wrong) {
      const { status, body } = await putMember(peer, endpoint, roomId, event)
      expect({ status, body }).toMatchObject({ status: 400 })
    }
  })
})

describe.each(['10', '12'])('a user here who knocks elsewhere, version %s', (version) => {
  async function knocking() {
    const peer = await createPeer()
    const alice = await register(server, 'alice')
    const name = { type: 'm.room.name', stateKey: '', content: { name: 'Far away' } }
    const room = peer.createRoom(version, {
      joinRule: { join_rule: 'knock' },
      initialState: [name],
    })
    peer.on('PUT', /send_knock\/[^/]+\/[^/]+$/, ({ body }) => {
      room.add({ id: eventId(body, version), json: body })
      const shown = ['m.room.create', 'm.room.join_rules', 'm.room.name']
      return { knock_room_state: room.jsonOf(shown.map((type) => room.lookUp(type) ?? '')) }
    })
    const answer = await alice.ask('POST', path('/_matrix/client/v3/knock', room.roomId), {
      query: { via: peer.name, server_name: peer.name },
      body: { reason: 'hello' },
    })
    return { peer, alice, room, answer }
  }

  it('sees the room as it was told, and signs its own knock only', async () => {
    const { peer, alice, room, answer } = await knocking()
    await using _ = peer
    expect(answer).toMatchObject({ status: 200, body: { room_id: room.roomId } })
    const { rooms } = await alice.syncUntil(inSection('knock', room.roomId))
    const state = rooms.knock[room.roomId]?.knock_state.events ?? []
    expect(state).toContainEqual(
      expect.objectContaining({ type: 'm.room.name', content: { name: 'Far away' } }),
    )
    const sent = await peer.receives(({ path: where }) => where.includes('/send_knock/'))
    expect(sent.body).toMatchObject({
      type: 'm.room.member',
      sender: alice.userId,
      state_key: alice.userId,
      room_id: room.roomId,
      content: { membership: 'knock', reason: 'hello' },
    })
    expect(peer.complaints).toEqual([])
  })

  itSynapseBreaks(
    'Remote invites/knocks from other homeservers … need another approach to reject the invite.',
  )('takes the knock back by make_leave and send_leave', async () => {
    const { peer, alice, room } = await knocking()
    await using _ = peer
    const { next_batch: since } = await alice.syncUntil(inSection('knock', room.roomId))
    await alice.leave(room.roomId)
    const leave = await peer.receives(({ path: where }) => where.includes('/send_leave/'))
    expect(leave.body).toMatchObject({ state_key: alice.userId, content: { membership: 'leave' } })
    await alice.syncUntil(inSection('leave', room.roomId), { since })
  })

  it('is let in by an invite', async () => {
    const { peer, alice, room } = await knocking()
    await using _ = peer
    const invite = room.build({
      type: 'm.room.member',
      sender: peer.user('creator'),
      stateKey: alice.userId,
      content: { membership: 'invite' },
    })
    const body = {
      room_version: version,
      event: invite.json,
      invite_room_state: room.jsonOf([room.lookUp('m.room.create') ?? '']),
    }
    const where = `${api}/v2/invite/${encoded(room.roomId, invite.id)}`
    const answer = await peer.ask(server, 'PUT', where, body)
    expect(answer.status).toBe(200)
    room.add({ id: invite.id, json: Object(answer.body['event']) })
    await alice.syncUntil(inSection('invite', room.roomId))
    await alice.join(room.roomId, [peer.name])
    await alice.syncUntil(inSection('join', room.roomId))
  })
})
