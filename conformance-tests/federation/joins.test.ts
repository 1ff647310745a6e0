import { describe, expect, it } from 'vitest'
import { inSection, inTimeline, register, unique } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { path } from '../harness/http.ts'
import { createPeer } from '../harness/peer.ts'

const versions = ['6', '9', '10', '11', '12']
const makeJoin = (room: string, user: string, query = 'ver=10&ver=11&ver=12') =>
  `/_matrix/federation/v1/make_join/${encodeURIComponent(room)}/${encodeURIComponent(user)}?${query}`

describe.each(versions)('a user of another server in room version %s', (version) => {
  it('joins a room here and talks', async ({ skip }) => {
    await using peer = await createPeer()
    const alice = await register(server, 'alice')
    const { capabilities } = await alice.call('GET', '/_matrix/client/v3/capabilities')
    if (!JSON.stringify(capabilities).includes(`"${version}":`))
      skip('the server makes no such rooms')
    const roomId = await alice.createRoom({ preset: 'public_chat', room_version: version })
    const bob = peer.user('bob')
    const { next_batch: since } = await alice.sync()
    const room = await peer.join(server, roomId, bob)
    const seen = await alice.syncUntil(
      inTimeline(roomId, ({ state_key }) => state_key === bob),
      { since },
    )
    const message = room.append({
      type: 'm.room.message',
      sender: bob,
      content: { msgtype: 'm.text', body: 'hi' },
    })
    const { body } = await peer.transact(server, [message])
    expect(body).toMatchObject({ pdus: { [message.id]: {} } })
    await alice.syncUntil(
      inTimeline(roomId, ({ event_id }) => event_id === message.id),
      { since: seen.next_batch },
    )
    const answer = await alice.sendText(roomId, 'hello from here')
    const pdu = await peer.receivesPdu(
      ({ content }) => Object(content)['body'] === 'hello from here',
    )
    expect(pdu).toMatchObject({ sender: alice.userId, room_id: roomId, prev_events: [message.id] })
    expect(answer).toMatch(/^\$/)
    expect(peer.complaints).toEqual([])
  })

  it('has a room that a user here joins and talks in', async () => {
    await using peer = await createPeer()
    const room = peer.createRoom(version, {
      initialState: [{ type: 'm.room.name', stateKey: '', content: { name: 'far away' } }],
    })
    const alice = await register(server, 'alice')
    await alice.join(room.roomId, [peer.name])
    const answer = await alice.syncUntil(inSection('join', room.roomId))
    expect(await alice.getState(room.roomId, 'm.room.name')).toEqual({ name: 'far away' })
    const creator = peer.user('creator')
    const message = room.append({
      type: 'm.room.message',
      sender: creator,
      content: { msgtype: 'm.text', body: 'welcome' },
    })
    await peer.transact(server, [message])
    await alice.syncUntil(
      inTimeline(room.roomId, ({ event_id }) => event_id === message.id),
      { since: answer.next_batch },
    )
    await alice.sendText(room.roomId, 'thank you')
    await peer.receivesPdu(({ content }) => Object(content)['body'] === 'thank you')
    expect(peer.complaints).toEqual([])
  })
})

describe('make_join', () => {
  it('is refused for a room nobody knows', async () => {
    await using peer = await createPeer()
    const answer = await peer.ask(
      server,
      'GET',
      makeJoin(`!${unique('x')}:${server.name}`, peer.user('bob')),
    )
    expect(answer).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } })
  })

  it('is refused when the asking server lacks the room’s version, and names it', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    const room = await alice.createRoom({ preset: 'public_chat', room_version: '10' })
    const answer = await peer.ask(server, 'GET', makeJoin(room, peer.user('bob'), 'ver=1&ver=99'))
    expect(answer).toMatchObject({
      status: 400,
      body: { errcode: 'M_INCOMPATIBLE_ROOM_VERSION', room_version: '10' },
    })
  })

  it('is refused for a user of a third server', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    const room = await alice.createRoom({ preset: 'public_chat' })
    const { status } = await peer.ask(server, 'GET', makeJoin(room, '@bob:elsewhere.example'))
    expect(status).toBe(403)
  })

  it('is refused where one has to be invited, and for the banned', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    const closed = await alice.createRoom({ preset: 'private_chat' })
    expect((await peer.ask(server, 'GET', makeJoin(closed, peer.user('bob')))).status).toBe(403)
    const open = await alice.createRoom({ preset: 'public_chat' })
    await alice.ban(open, peer.user('bob'))
    expect((await peer.ask(server, 'GET', makeJoin(open, peer.user('bob')))).status).toBe(403)
  })

  it('is refused to a server that the room’s ACL denies', async () => {
    await using peer = await createPeer({ host: '127.0.0.1' })
    const alice = await register(server)
    const room = await alice.createRoom({ preset: 'public_chat' })
    await alice.setState(room, 'm.room.server_acl', '', { allow: ['*'], allow_ip_literals: false })
    const { status, body } = await peer.ask(server, 'GET', makeJoin(room, peer.user('bob')))
    expect(status).toBe(403)
    expect(body['errcode']).toBe('M_FORBIDDEN')
  })

  it('names a member who can let in, where the room is restricted', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    const bob = peer.user('bob')
    const lobby = await alice.createRoom({ preset: 'public_chat', room_version: '10' })
    const room = await alice.createRoom({
      preset: 'public_chat',
      room_version: '10',
      initial_state: [
        {
          type: 'm.room.join_rules',
          content: {
            join_rule: 'restricted',
            allow: [{ type: 'm.room_membership', room_id: lobby }],
          },
        },
      ],
    })
    expect((await peer.ask(server, 'GET', makeJoin(room, bob))).status).toBe(403)
    await peer.join(server, lobby, bob)
    const joined = await peer.join(server, room, bob)
    const member = joined.events.get(joined.lookUp('m.room.member', bob) ?? '')
    expect(member?.['content']).toMatchObject({ join_authorised_via_users_server: alice.userId })
    expect(Object.keys(Object(member?.['signatures'])).sort()).toEqual(
      [peer.name, server.name].sort(),
    )
  })
})

describe('send_join', () => {
  async function prepared() {
    const peer = await createPeer()
    const alice = await register(server)
    const roomId = await alice.createRoom({ preset: 'public_chat', room_version: '11' })
    await peer.join(server, roomId, peer.user('first'))
    const room = peer.rooms.get(roomId)
    if (!room) throw new Error('no room')
    const put = (id: string, body: Record<string, unknown>) =>
      peer.ask(
        server,
        'PUT',
        `/_matrix/federation/v2/send_join/${encodeURIComponent(roomId)}/${encodeURIComponent(id)}`,
        body,
      )
    const draft = (user: string, more: Record<string, unknown> = {}) => ({
      type: 'm.room.member',
      sender: user,
      stateKey: user,
      content: { membership: 'join' },
      more,
    })
    return { peer, alice, roomId, room, put, draft }
  }

  it('is refused for another event than a join of one’s own user', async () => {
    const { peer, room, put, draft } = await prepared()
    await using _ = peer
    const bob = peer.user('bob')
    const wrong = [
      room.build({ type: 'm.room.message', sender: bob, content: { body: 'x' } }),
      room.build({ ...draft(bob), content: { membership: 'leave' } }),
      room.build({ ...draft(bob), stateKey: peer.user('carol') }),
      room.build(draft('@bob:elsewhere.example')),
      room.build(draft(bob, { room_id: '!other:elsewhere.example' })),
    ]
    for (const { id, json } of wrong) {
      const { status } = await put(id, json)
      expect([400, 403, 404]).toContain(status)
    }
  })

  it('is refused without a valid signature', async () => {
    const { peer, room, put, draft, alice, roomId } = await prepared()
    await using _ = peer
    const bob = peer.user('bob')
    const { id, json } = room.build(draft(bob))
    const broken = { ...json, signatures: { [peer.name]: { [peer.key.id]: 'A'.repeat(86) } } }
    expect([400, 401, 403]).toContain((await put(id, broken)).status)
    await expect(alice.getState(roomId, 'm.room.member', bob)).rejects.toMatchObject({
      status: 404,
    })
  })

  it('answers with the state before the join and its auth chain', async () => {
    const { peer, room, roomId } = await prepared()
    await using _ = peer
    const types = [...room.state.keys()].map((key) => key.split('\0')[0])
    expect(types).toEqual(
      expect.arrayContaining([
        'm.room.create',
        'm.room.power_levels',
        'm.room.join_rules',
        'm.room.member',
      ]),
    )
    expect(roomId).toBe(room.roomId)
    for (const id of room.authChain(room.state.values())) expect(room.events.has(id)).toBe(true)
  })
})

describe('a join over federation', () => {
  it('tries the next server when the first cannot help', async () => {
    await using broken = await createPeer()
    await using peer = await createPeer()
    broken.on('GET', /make_join/, () => ({
      status: 500,
      body: { errcode: 'M_UNKNOWN', error: 'broken' },
    }))
    const room = peer.createRoom('11')
    const alice = await register(server)
    await alice.join(room.roomId, [broken.name, peer.name])
    await alice.syncUntil(inSection('join', room.roomId))
  })

  it('signs nothing but its own join, whatever the other server asks for', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    const room = peer.createRoom('11')
    const template = room.template({
      type: 'm.room.member',
      sender: alice.userId,
      stateKey: alice.userId,
      content: { membership: 'join' },
    })
    const evil = [
      {
        ...template,
        type: 'm.room.power_levels',
        state_key: '',
        content: { users: { [peer.user('evil')]: 100 } },
      },
      { ...template, state_key: peer.user('evil') },
      { ...template, room_id: '!another:elsewhere.example' },
      { ...template, content: { membership: 'ban' } },
    ]
    const sent: Record<string, unknown>[] = []
    peer.on('PUT', /send_join/, ({ body }) => {
      sent.push(body)
      return { status: 400, body: { errcode: 'M_UNKNOWN', error: 'no' } }
    })
    for (const event of evil) {
      peer.on('GET', /make_join/, () => ({ room_version: '11', event }))
      const answer = await alice.ask('POST', path('/_matrix/client/v3/join', room.roomId), {
        query: { server_name: peer.name, via: peer.name },
        body: {},
      })
      expect(answer.status).toBeGreaterThanOrEqual(400)
    }
    for (const event of sent) {
      expect(event).toMatchObject({
        type: 'm.room.member',
        state_key: alice.userId,
        sender: alice.userId,
        room_id: room.roomId,
        content: { membership: 'join' },
      })
    }
  })

  it('fails when the answer lacks the create event, or is signed by nobody', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    const room = peer.createRoom('11')
    peer.on('PUT', /send_join/, ({ body }) => ({
      origin: peer.name,
      event: body,
      state: [],
      auth_chain: [],
      members_omitted: false,
    }))
    const answer = await alice.ask('POST', path('/_matrix/client/v3/join', room.roomId), {
      query: { server_name: peer.name, via: peer.name },
      body: {},
    })
    expect(answer.status).toBeGreaterThanOrEqual(400)
    const { joined_rooms: rooms } = await alice.call('GET', '/_matrix/client/v3/joined_rooms')
    expect(rooms).toEqual([])
  })
})
