import { describe, expect, it } from 'vitest'
import { type Client, inSection, register } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { server } from '../harness/fixtures.ts'
import { type Body, isBody, path } from '../harness/http.ts'
import { createPeer } from '../harness/peer.ts'

const encoded = (text: string) => encodeURIComponent(text)
const list = (value: unknown): Body[] => (Array.isArray(value) ? value.filter(isBody) : [])
const idsOf = (value: unknown) => list(value).map(({ room_id: id }) => id)
const open: Body = { preset: 'public_chat' }
const closed: Body = { preset: 'private_chat' }
const space = (options: Body): Body => ({ ...options, creation_content: { type: 'm.space' } })
const membersOf = (room: string): Body => ({
  initial_state: [
    {
      type: 'm.room.join_rules',
      content: { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: room }] },
    },
  ],
})

const link = (owner: Client, parent: string, child: string, more: Body = {}) =>
  owner.setState(parent, 'm.space.child', child, { via: [server.name], ...more })
const hierarchy = (room: string) => `/_matrix/federation/v1/hierarchy/${encoded(room)}`
const walk = async (user: Client, room: string) =>
  list((await user.call('GET', path('/_matrix/client/v1/rooms', room, 'hierarchy')))['rooms'])

describe('a space, asked for by another server,', () => {
  it('is told with its links, and the children that the server may know of', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    const root = await alice.createRoom(space({ ...open, name: 'Root' }))
    const shown = await alice.createRoom({ ...open, name: 'Shown' })
    const hidden = await alice.createRoom(closed)
    const inner = await alice.createRoom(space(open))
    for (const room of [shown, hidden, inner]) await link(alice, root, room)
    const deeper = await alice.createRoom(open)
    await link(alice, inner, deeper)
    await link(alice, root, '!elsewhere:elsewhere.example')
    const { status, body } = await peer.ask(server, 'GET', hierarchy(root))
    expect(status).toBe(200)
    expect(body['room']).toMatchObject({ room_id: root, name: 'Root', room_type: 'm.space' })
    expect(list(Object(body['room'])['children_state']).map((one) => one['state_key'])).toEqual([
      ...[shown, hidden, inner, '!elsewhere:elsewhere.example'],
    ])
    // One level only, and nothing of rooms that are not here.
    expect(idsOf(body['children'])).toEqual([shown, inner])
    expect(body['inaccessible_children']).toEqual([hidden])
  })

  it('is told with what is suggested only', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    const root = await alice.createRoom(space(open))
    const [shown, other] = [await alice.createRoom(open), await alice.createRoom(open)]
    await link(alice, root, shown, { suggested: true })
    await link(alice, root, other)
    const { body } = await peer.ask(server, 'GET', `${hierarchy(root)}?suggested_only=true`)
    expect(idsOf(body['children'])).toEqual([shown])
  })

  it('is not there for a server whose users cannot come in', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    const root = await alice.createRoom(space(closed))
    expect((await peer.ask(server, 'GET', hierarchy(root))).status).toBe(404)
    expect((await peer.ask(server, 'GET', hierarchy('!nowhere:x.example'))).status).toBe(404)
    await alice.invite(root, peer.user('bob'))
    expect((await peer.ask(server, 'GET', hierarchy(root))).status).toBe(200)
  })

  itSynapseBreaks('GET /hierarchy, 404: { "errcode": "M_NOT_FOUND", … }')(
    'that is not there is not found',
    async () => {
      await using peer = await createPeer()
      expect((await peer.ask(server, 'GET', hierarchy('!nowhere:x.example'))).body).toMatchObject({
        errcode: 'M_NOT_FOUND',
      })
    },
  )

  it('shows a room for members of a space to servers that are in the space', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    const root = await alice.createRoom(space(open))
    const room = await alice.createRoom(membersOf(root))
    await link(alice, root, room)
    const before = await peer.ask(server, 'GET', hierarchy(root))
    expect(before.body['inaccessible_children']).toEqual([room])
    await peer.join(server, root, peer.user('bob'))
    const after = await peer.ask(server, 'GET', hierarchy(root))
    expect(after.body['children']).toMatchObject([{ room_id: room, allowed_room_ids: [root] }])
  })
})

describe('a space with rooms of another server', () => {
  /** A space here whose only child is a room that the peer tells of. */
  async function withFarRoom(tell: (far: string) => Body | undefined) {
    const peer = await createPeer()
    const alice = await register(server)
    const root = await alice.createRoom(space(open))
    const far = `!far:${peer.name}`
    await link(alice, root, far, { via: [peer.name] })
    peer.on('GET', /^\/_matrix\/federation\/v1\/hierarchy\/(.*)$/, (_, match) =>
      match[1] === far ? tell(far) : undefined,
    )
    return { peer, alice, root, far }
  }

  const summary = (room: string, more: Body = {}): Body => ({
    ...{ room_id: room, num_joined_members: 3, world_readable: false, guest_can_join: false },
    ...{ join_rule: 'public', ...more },
  })
  const answer = (room: Body, children: readonly Body[] = [], inaccessible: string[] = []) => ({
    room: { children_state: [], ...room },
    children,
    inaccessible_children: inaccessible,
  })
  const childLink = (room: string, via: string): Body => ({
    ...{ type: 'm.space.child', state_key: room, sender: '@x:elsewhere.example' },
    ...{ content: { via: [via] }, origin_server_ts: 1 },
  })

  it('shows them as that server tells of them, and what is below them', async () => {
    const { peer, alice, root, far } = await withFarRoom((room) => {
      const [child, hidden] = ['!child:elsewhere.example', '!hidden:elsewhere.example']
      const links = [child, hidden].map((one) => childLink(one, 'elsewhere.example'))
      const told = summary(room, { name: 'Far', room_type: 'm.space', children_state: links })
      return answer(told, [summary(child, { name: 'Child' })], [hidden])
    })
    await using _ = peer
    const rooms = await walk(alice, root)
    expect(rooms.map(({ name, room_id: id }) => name ?? id)).toEqual([root, 'Far', 'Child'])
    expect(rooms[1]).toMatchObject({ room_id: far, num_joined_members: 3 })
  })

  it('shows one for members of a space to those members only', async () => {
    const allowed: string[] = []
    const { peer, alice, root, far } = await withFarRoom((room) =>
      answer(summary(room, { join_rule: 'restricted', allowed_room_ids: allowed })),
    )
    await using _ = peer
    allowed.push(root)
    const bob = await register(server)
    expect(idsOf(await walk(alice, root))).toEqual([root, far])
    expect(idsOf(await walk(bob, root))).toEqual([root])
  })

  it.each([
    ['refuses', () => ({ status: 404, body: { errcode: 'M_NOT_FOUND', error: 'no' } })],
    ['tells of another room', () => answer(summary('!other:elsewhere.example'))],
    ['tells nothing', () => ({})],
    [
      'tells of a room that is closed',
      (room: string) => answer(summary(room, { join_rule: 'invite' })),
    ],
  ])('leaves one out when its server %s', async (_, tell: (far: string) => Body) => {
    const { peer, alice, root } = await withFarRoom(tell)
    await using __ = peer
    expect(idsOf(await walk(alice, root))).toEqual([root])
  })

  it('shows the summary of one, asked for through its server', async () => {
    const { peer, alice, far } = await withFarRoom((room) => answer(summary(room, { name: 'Far' })))
    await using _ = peer
    const found = await alice.call('GET', path('/_matrix/client/v1/room_summary', far), {
      query: { via: [peer.name] },
    })
    expect(found).toMatchObject({ room_id: far, name: 'Far', membership: 'leave' })
  })
})

describe('public rooms, asked for by another server,', () => {
  const publicRooms = '/_matrix/federation/v1/publicRooms'

  it('are searched by words and types, without those that keep to this server', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    const name = `Federated ${peer.name}`
    const make = (more: Body) => alice.createRoom({ visibility: 'public', name, ...more })
    const room = await make({})
    const typed = await make({ creation_content: { type: 'm.space' } })
    await make({ creation_content: { 'm.federate': false } })
    const search = async (filter: Body) => {
      const body = { filter: { generic_search_term: name, ...filter } }
      return idsOf((await peer.ask(server, 'POST', publicRooms, body)).body['chunk'])
    }
    expect((await search({})).sort()).toEqual([room, typed].sort())
    expect(await search({ room_types: ['m.space'] })).toEqual([typed])
    expect(await search({ room_types: [null] })).toEqual([room])
  })

  it('are paged through', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    for (let count = 0; count < 3; count++) await alice.createRoom({ visibility: 'public' })
    const get = async (query: string) =>
      (await peer.ask(server, 'GET', `${publicRooms}?${query}`)).body
    const first = await get('limit=2')
    expect(list(first['chunk'])).toHaveLength(2)
    const second = await get(`limit=2&since=${encoded(String(first['next_batch']))}`)
    expect(idsOf(second['chunk'])).not.toEqual(idsOf(first['chunk']))
    expect(second['prev_batch']).toEqual(expect.any(String))
  })
})

describe('public rooms of another server', () => {
  it('are asked for there, with the page and the filter', async () => {
    await using peer = await createPeer()
    const chunk = [...[{ room_id: `!far:${peer.name}`, num_joined_members: 7, name: 'Far' }]].map(
      (room) => ({ ...room, world_readable: true, guest_can_join: false }),
    )
    peer.on('POST', /publicRooms$/, () => ({ chunk, next_batch: 'more' }))
    peer.on('GET', /publicRooms$/, () => ({ chunk, next_batch: 'more' }))
    const alice = await register(server)
    const body = { limit: 5, since: 'token', filter: { generic_search_term: 'far' } }
    const answer = await alice.call('POST', '/_matrix/client/v3/publicRooms', {
      ...{ query: { server: peer.name }, body },
    })
    expect(answer).toMatchObject({ chunk, next_batch: 'more' })
    const asked = await peer.receives(({ path: where }) => where.endsWith('/publicRooms'))
    expect(asked.body).toMatchObject(body)
  })

  it('are not to be had when the server does not answer', async () => {
    const alice = await register(server)
    const answer = await alice.ask('GET', '/_matrix/client/v3/publicRooms', {
      query: { server: 'localhost:1' },
    })
    expect(answer.status).toBeGreaterThanOrEqual(500)
    expect(answer.body['errcode']).toEqual(expect.any(String))
  })
})

describe('an OpenID token, shown to another server,', () => {
  const userinfo = (query: string) => ({
    ...{ method: 'GET', uri: `/_matrix/federation/v1/openid/userinfo${query}` },
  })

  it('tells whose it is', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    const where = path('/_matrix/client/v3/user', alice.userId, 'openid', 'request_token')
    const { access_token: token } = await alice.call('POST', where, { body: {} })
    const query = `?access_token=${encoded(String(token))}`
    const { status, body } = await peer.plain(server.name, userinfo(query))
    expect({ status, body }).toEqual({ status: 200, body: { sub: alice.userId } })
  })

  it('is refused when it is unknown, and an access token is none', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    for (const token of ['nonsense', alice.token]) {
      expect(await peer.plain(server.name, userinfo(`?access_token=${token}`))).toMatchObject({
        ...{ status: 401, body: { errcode: 'M_UNKNOWN_TOKEN' } },
      })
    }
    expect((await peer.plain(server.name, userinfo(''))).status).toBe(401)
  })
})

describe('an invited user', () => {
  it('sees the summary of a closed room of another server', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    const room = peer.createRoom('11', { joinRule: { join_rule: 'invite' } })
    const creator = peer.user('creator')
    const event = room.build({
      ...{ type: 'm.room.member', sender: creator, stateKey: alice.userId },
      content: { membership: 'invite' },
    })
    const uri = `/_matrix/federation/v2/invite/${encoded(room.roomId)}/${encoded(event.id)}`
    const invite = { room_version: '11', event: event.json, invite_room_state: [] }
    expect((await peer.ask(server, 'PUT', uri, invite)).status).toBe(200)
    await alice.syncUntil(inSection('invite', room.roomId))
    peer.on('GET', /^\/_matrix\/federation\/v1\/hierarchy\//, () => ({
      room: {
        ...{ room_id: room.roomId, num_joined_members: 1, name: 'Closed', join_rule: 'invite' },
        ...{ world_readable: false, guest_can_join: false, children_state: [] },
      },
      ...{ children: [], inaccessible_children: [] },
    }))
    const found = await alice.call('GET', path('/_matrix/client/v1/room_summary', room.roomId), {
      query: { via: [peer.name] },
    })
    expect(found).toMatchObject({ name: 'Closed', membership: 'invite' })
  })
})
