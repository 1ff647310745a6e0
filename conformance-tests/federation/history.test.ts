import { describe, expect, it } from 'vitest'
import { eventually, inSection, register, unique } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { type Body, isBody, path } from '../harness/http.ts'
import { eventId } from '../harness/pdu.ts'
import { createPeer } from '../harness/peer.ts'

const v1 = '/_matrix/federation/v1'
const list = (value: unknown): Body[] => (Array.isArray(value) ? value.filter(isBody) : [])
const encoded = (text: string) => encodeURIComponent(text)

/** A room here with some messages, joined by the peer after them. */
async function roomWithHistory(version = '11', options: Body = {}) {
  const peer = await createPeer()
  const alice = await register(server, 'alice')
  const roomId = await alice.createRoom({
    preset: 'public_chat',
    room_version: version,
    ...options,
  })
  const ids: string[] = []
  for (let i = 0; i < 8; i++) ids.push(await alice.sendText(roomId, `message ${i}`))
  const bob = peer.user('bob')
  const room = await peer.join(server, roomId, bob)
  return { peer, alice, roomId, ids, room, bob }
}

describe.each(['10', '11', '12'])('a member server, in room version %s,', (version) => {
  it('reads an event as it was signed', async () => {
    const { peer, ids } = await roomWithHistory(version)
    await using _ = peer
    const { status, body } = await peer.ask(server, 'GET', `${v1}/event/${encoded(ids[3] ?? '')}`)
    expect(status).toBe(200)
    const [pdu = {}] = list(body['pdus'])
    expect(eventId(pdu, version)).toBe(ids[3])
    expect(pdu).toMatchObject({ content: { body: 'message 3' }, hashes: expect.any(Object) })
  })

  it('reads the state before an event, whole and as ids', async () => {
    const { peer, roomId, ids } = await roomWithHistory(version)
    await using _ = peer
    const query = `${encoded(roomId)}?event_id=${encoded(ids[3] ?? '')}`
    const whole = await peer.ask(server, 'GET', `${v1}/state/${query}`)
    const short = await peer.ask(server, 'GET', `${v1}/state_ids/${query}`)
    const idsOf = (value: unknown) =>
      list(value)
        .map((pdu) => eventId(pdu, version))
        .sort()
    expect(idsOf(whole.body['pdus'])).toEqual([...Object(short.body['pdu_ids'])].sort())
    expect(idsOf(whole.body['auth_chain'])).toEqual(
      [...Object(short.body['auth_chain_ids'])].sort(),
    )
    expect(list(whole.body['pdus']).map(({ type }) => type)).toEqual(
      expect.arrayContaining(['m.room.create', 'm.room.power_levels']),
    )
    // The peer joined afterwards.
    expect(list(whole.body['pdus']).filter(({ type }) => type === 'm.room.member')).toHaveLength(1)
  })

  it('reads the auth chain of an event', async () => {
    const { peer, roomId, room, bob } = await roomWithHistory(version)
    await using _ = peer
    const join = room.lookUp('m.room.member', bob) ?? ''
    const { body } = await peer.ask(
      server,
      'GET',
      `${v1}/event_auth/${encoded(roomId)}/${encoded(join)}`,
    )
    const found = list(body['auth_chain'])
      .map((pdu) => eventId(pdu, version))
      .sort()
    // From version 12 on, the room id stands for the create event, which may be left out or not.
    const create = `$${roomId.slice(1)}`
    expect(found.filter((id) => id !== create)).toEqual(
      room
        .authChain([join])
        .filter((id) => id !== create)
        .sort(),
    )
  })

  it('backfills what came before', async () => {
    const { peer, roomId, ids } = await roomWithHistory(version)
    await using _ = peer
    const { body } = await peer.ask(
      server,
      'GET',
      `${v1}/backfill/${encoded(roomId)}?v=${encoded(ids[6] ?? '')}&limit=4`,
    )
    const found = list(body['pdus']).map((pdu) => eventId(pdu, version))
    expect(found.sort()).toEqual([ids[6], ids[5], ids[4], ids[3]].sort())
  })

  it('asks for missing events between two points', async () => {
    const { peer, roomId, ids } = await roomWithHistory(version)
    await using _ = peer
    const ask = async (more: Body) => {
      const { body } = await peer.ask(
        server,
        'POST',
        `${v1}/get_missing_events/${encoded(roomId)}`,
        {
          earliest_events: [ids[1]],
          latest_events: [ids[6]],
          limit: 10,
          ...more,
        },
      )
      return list(body['events']).map((pdu) => eventId(pdu, version))
    }
    expect(await ask({})).toEqual(ids.slice(2, 6))
    expect(await ask({ limit: 2 })).toEqual(ids.slice(4, 6))
  })
})

describe('a server that is not in the room', () => {
  it('reads nothing of it', async () => {
    const { peer, roomId, ids } = await roomWithHistory()
    await using _ = peer
    await using stranger = await createPeer()
    const id = encoded(ids[3] ?? '')
    const room = encoded(roomId)
    const requests: [string, string, Body?][] = [
      ['GET', `${v1}/event/${id}`],
      ['GET', `${v1}/state/${room}?event_id=${id}`],
      ['GET', `${v1}/state_ids/${room}?event_id=${id}`],
      ['GET', `${v1}/event_auth/${room}/${id}`],
      ['GET', `${v1}/backfill/${room}?v=${id}&limit=5`],
      [
        'POST',
        `${v1}/get_missing_events/${room}`,
        { earliest_events: [], latest_events: [ids[3]], limit: 5 },
      ],
    ]
    for (const [method, uri, body] of requests) {
      const answer = await stranger.ask(server, method, uri, body)
      expect({ uri, refused: answer.status === 403 || answer.status === 404 }).toEqual({
        uri,
        refused: true,
      })
      expect(JSON.stringify(answer.body)).not.toContain('message 3')
    }
  })

  it('reads of the time before its join only what history visibility allows', async () => {
    const { peer, roomId, ids } = await roomWithHistory('11', {
      initial_state: [
        { type: 'm.room.history_visibility', content: { history_visibility: 'joined' } },
      ],
    })
    await using _ = peer
    const { body } = await peer.ask(
      server,
      'GET',
      `${v1}/backfill/${encoded(roomId)}?v=${encoded(ids[6] ?? '')}&limit=4`,
    )
    expect(JSON.stringify(body)).not.toContain('message 5')
    const { body: one } = await peer.ask(server, 'GET', `${v1}/event/${encoded(ids[3] ?? '')}`)
    expect(JSON.stringify(one)).not.toContain('message 3')
  })
})

describe('history that only another server has', () => {
  it.each(['10', '11', '12'])(
    'is fetched when a client pages back, version %s',
    async (version) => {
      await using peer = await createPeer()
      const room = peer.createRoom(version)
      const creator = peer.user('creator')
      const old = Array.from({ length: 8 }, (_, i) =>
        room.append({
          type: 'm.room.message',
          sender: creator,
          content: { msgtype: 'm.text', body: `old ${i}` },
        }),
      )
      const alice = await register(server)
      await alice.join(room.roomId, [peer.name])
      await alice.syncUntil(inSection('join', room.roomId))
      const bodies = await eventually(
        async () =>
          (await alice.messages(room.roomId, { limit: 30 })).chunk.map(({ event_id }) => event_id),
        (ids) => ids.includes(old[0]?.id ?? ''),
      )
      const places = old.map(({ id }) => bodies.indexOf(id))
      expect(places).toEqual([...places].sort((a, b) => b - a))
      await peer.receives(({ path: where }) => where.includes('/backfill/'))
      const { rooms } = await alice.sync({ filter: { room: { timeline: { limit: 50 } } } })
      expect(rooms.join[room.roomId]).toBeDefined()
    },
  )
})

describe('queries', () => {
  it('for a profile are answered', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    await alice.call('PUT', `${path('/_matrix/client/v3/profile', alice.userId)}/displayname`, {
      body: { displayname: 'Alice' },
    })
    const ask = (query: string) => peer.ask(server, 'GET', `${v1}/query/profile?${query}`)
    expect(await ask(`user_id=${encoded(alice.userId)}`)).toMatchObject({
      status: 200,
      body: { displayname: 'Alice' },
    })
    expect((await ask(`user_id=${encoded(alice.userId)}&field=displayname`)).body).toEqual({
      displayname: 'Alice',
    })
    expect((await ask(`user_id=${encoded(`@${unique('none')}:${server.name}`)}`)).status).toBe(404)
    expect((await ask(`user_id=${encoded('@x:elsewhere.example')}`)).status).toBeGreaterThanOrEqual(
      400,
    )
  })

  it('for a user of a server whose port is no number are refused', async () => {
    await using peer = await createPeer()
    const query = `user_id=${encoded('@user1:localhost:http')}&field=displayname`
    expect((await peer.ask(server, 'GET', `${v1}/query/profile?${query}`)).status).toBe(400)
  })

  it('for a profile of another server are sent there', async () => {
    await using peer = await createPeer()
    peer.on('GET', /query\/profile/, () => ({
      displayname: 'Bob far away',
      avatar_url: 'mxc://far/away',
    }))
    const alice = await register(server)
    const answer = await alice.call('GET', path('/_matrix/client/v3/profile', peer.user('bob')))
    expect(answer).toMatchObject({ displayname: 'Bob far away', avatar_url: 'mxc://far/away' })
  })

  it('for an alias are answered', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    const name = unique('alias')
    const room = await alice.createRoom({ room_alias_name: name })
    const ask = (alias: string) =>
      peer.ask(server, 'GET', `${v1}/query/directory?room_alias=${encoded(alias)}`)
    expect(await ask(`#${name}:${server.name}`)).toMatchObject({
      status: 200,
      body: { room_id: room, servers: [server.name] },
    })
    expect(await ask(`#${unique('none')}:${server.name}`)).toMatchObject({
      status: 404,
      body: { errcode: 'M_NOT_FOUND' },
    })
  })

  it('for an alias of another server are sent there, and used to join', async () => {
    await using peer = await createPeer()
    const room = peer.createRoom('11')
    peer.on('GET', /query\/directory/, () => ({ room_id: room.roomId, servers: [peer.name] }))
    const alice = await register(server)
    expect(await alice.join(`#far:${peer.name}`)).toBe(room.roomId)
  })
})
