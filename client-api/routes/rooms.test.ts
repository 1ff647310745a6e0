import { describe, expect, it } from 'vitest'
import { testMemberships } from '../../homeserver/rooms/test-memberships.ts'
import { parseRoomId, parseServerName, parseUserId } from '../../spec/ids.ts'
import { noRooms } from '../test-rooms.ts'
import { testServer } from '../test-server.ts'
import { directoryRoutes } from './directory.ts'
import { roomRoutes } from './rooms.ts'

const room = parseRoomId('!room:example.org')
const serverName = parseServerName('example.org')
const token = 'alice'

function setUp() {
  const asked: unknown[][] = []
  const memberships = testMemberships(serverName)
  const note =
    (name: string) =>
    async (_who: unknown, ...rest: unknown[]) =>
      void asked.push([name, ...rest])
  const answering =
    (name: string) =>
    async (_who: unknown, ...rest: unknown[]) => {
      asked.push([name, ...rest])
      return room
    }
  const rooms = {
    ...noRooms,
    create: answering('create'),
    join: answering('join'),
    knock: answering('knock'),
    leave: note('leave'),
    invite: note('invite'),
    claimInvite: note('claimInvite'),
    kick: note('kick'),
    ban: note('ban'),
    unban: note('unban'),
    forget: note('forget'),
    publicRooms: async (query: object) => {
      asked.push(['publicRooms', query])
      return { chunk: [] }
    },
  }
  const remote = {
    publicRooms: async (server: string, body: object) => {
      asked.push(['remote', server, body])
      return { chunk: [{ far: true }] }
    },
  }
  const routes = [
    ...roomRoutes({ rooms, memberships }),
    ...directoryRoutes({ rooms, remote, config: { serverName } }),
  ]
  return { asked, memberships, server: testServer(routes) }
}

describe('making a room', () => {
  it('hands on what was asked for and nothing that was not', async () => {
    const { asked, server } = setUp()
    await using api = await server
    expect(await api.ask('POST', '/v3/createRoom', { token, body: {} })).toMatchObject({
      json: { room_id: room },
    })
    const body = {
      name: 'Tea',
      topic: null,
      preset: 'public_chat',
      is_direct: false,
      initial_state: [{ type: 'a', content: { b: 1 } }],
      invite: ['@bob:example.org'],
      room_alias_name: 'tea',
      unknown: 1,
    }
    await api.ask('POST', '/v3/createRoom', { token, body })
    expect(asked).toEqual([
      ['create', { initialState: [] }],
      [
        'create',
        {
          name: 'Tea',
          preset: 'public_chat',
          isDirect: false,
          initialState: [{ type: 'a', stateKey: '', content: { b: 1 } }],
          invite: ['@bob:example.org'],
          roomAliasName: 'tea',
        },
      ],
    ])
  })
  it('refuses wrong types', async () => {
    const { asked, server } = setUp()
    await using api = await server
    for (const body of [
      { room_version: 1 },
      { invite: ['bob'] },
      { preset: 'x' },
      { name: 5 },
      { initial_state: [{ content: {} }] },
      { visibility: 'secret' },
    ]) {
      expect(
        (await api.ask('POST', '/v3/createRoom', { token, body })).status,
        JSON.stringify(body),
      ).toBe(400)
    }
    expect(asked).toEqual([])
  })
})

describe('membership', () => {
  it('of the caller', async () => {
    const proof = { mxid: '@me:here.org', token: 't', signatures: {} }
    const { asked, server } = setUp()
    await using api = await server
    await api.ask(
      'POST',
      `/v3/join/${encodeURIComponent('#tea:far.org')}?server_name=a.org&server_name=b.org`,
      { token },
    )
    await api.ask('POST', `/v3/rooms/${room}/join?via=a.org`, {
      token,
      body: { reason: 'r', extra: 1, third_party_signed: { sender: '@a:far.org', ...proof } },
    })
    await api.ask('POST', `/v3/knock/${room}`, { token, body: { reason: 'r' } })
    await api.ask('POST', `/v3/rooms/${room}/leave`, { token })
    await api.ask('POST', `/v3/rooms/${room}/forget`, { token })
    expect(asked).toEqual([
      ['join', '#tea:far.org', { via: ['a.org', 'b.org'] }],
      ['claimInvite', room, { sender: '@a:far.org', signed: proof }],
      ['join', room, { via: ['a.org'], reason: 'r', content: { extra: 1 } }],
      ['knock', room, { via: [], reason: 'r' }],
      ['leave', room, undefined],
      ['forget', room],
    ])
  })
  it('of others', async () => {
    const { asked, server } = setUp()
    await using api = await server
    const body = { user_id: '@bob:example.org', reason: 'r' }
    for (const action of ['invite', 'kick', 'ban', 'unban']) {
      expect((await api.ask('POST', `/v3/rooms/${room}/${action}`, { token, body })).status).toBe(
        200,
      )
      expect(
        await api.ask('POST', `/v3/rooms/${room}/${action}`, { token, body: {} }),
      ).toMatchObject({ status: 400, json: { errcode: 'M_MISSING_PARAM' } })
    }
    expect(asked).toEqual([
      ['invite', room, '@bob:example.org', { reason: 'r' }],
      ['kick', room, '@bob:example.org', 'r'],
      ['ban', room, '@bob:example.org', 'r'],
      ['unban', room, '@bob:example.org', 'r'],
    ])
  })
  it('lists rooms that are joined, not those that were', async () => {
    const { memberships, server } = setUp()
    await using api = await server
    const alice = parseUserId('@alice:example.org')
    memberships.set(room, alice, 'join')
    memberships.set(parseRoomId('!left:example.org'), alice, 'leave')
    expect((await api.ask('GET', '/v3/joined_rooms', { token })).json).toEqual({
      joined_rooms: [room],
    })
  })
})

describe('the list of public rooms', () => {
  it('is ours for anybody, and of another server for users', async () => {
    const { asked, server } = setUp()
    await using api = await server
    await api.ask('GET', '/v3/publicRooms?limit=9999')
    await api.ask('POST', '/v3/publicRooms', {
      token,
      body: { filter: { generic_search_term: 'tea' }, since: 'x' },
    })
    expect(await api.ask('GET', '/v3/publicRooms?server=far.org')).toMatchObject({ status: 401 })
    expect(await api.ask('GET', '/v3/publicRooms?server=far.org&limit=3', { token })).toMatchObject(
      { json: { chunk: [{ far: true }] } },
    )
    expect(asked).toEqual([
      ['publicRooms', { limit: 500, everyNetwork: false }],
      ['publicRooms', { limit: 100, since: 'x', term: 'tea', everyNetwork: false }],
      ['remote', 'far.org', { limit: 3 }],
    ])
  })
})
