import { describe, expect, it } from 'vitest'
import {
  type Client,
  eventually,
  inSection,
  inTimeline,
  register,
  unique,
} from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import type { Body } from '../harness/http.ts'
import { createPeer } from '../harness/peer.ts'

async function sharedRoom(version = '11', host: 'localhost' | '127.0.0.1' = 'localhost') {
  const peer = await createPeer({ host })
  const alice = await register(server, 'alice')
  const roomId = await alice.createRoom({ preset: 'public_chat', room_version: version })
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

describe('a server that the room’s ACL denies', () => {
  it('brings neither events nor typing nor receipts', async () => {
    const { peer, alice, roomId, room, bob } = await sharedRoom('11', '127.0.0.1')
    await using _ = peer
    await alice.setState(roomId, 'm.room.server_acl', '', {
      allow: ['*'],
      allow_ip_literals: false,
    })
    const { next_batch: since } = await alice.sync()
    const message = room.build(text(bob, 'from a denied server'))
    const typing = {
      edu_type: 'm.typing',
      content: { room_id: roomId, user_id: bob, typing: true },
    }
    await peer.transact(server, [message], [typing])
    const mark = await alice.sendText(roomId, 'mark')
    const answer = await alice.syncUntil(
      inTimeline(roomId, ({ event_id }) => event_id === mark),
      { since },
    )
    expect(JSON.stringify(answer)).not.toContain('from a denied server')
    expect(answer.rooms.join[roomId]?.ephemeral.events).toEqual([])
  })

  it('reads nothing and changes nothing', async () => {
    const { peer, alice, roomId, bob } = await sharedRoom('11', '127.0.0.1')
    await using _ = peer
    const id = await alice.sendText(roomId, 'not for you')
    await alice.setState(roomId, 'm.room.server_acl', '', { allow: ['*'], deny: ['127.0.0.*'] })
    const room = encodeURIComponent(roomId)
    const uris = [
      `backfill/${room}?v=${encodeURIComponent(id)}&limit=1`,
      `state/${room}?event_id=${encodeURIComponent(id)}`,
      `make_join/${room}/${encodeURIComponent(bob)}?ver=11`,
      `make_leave/${room}/${encodeURIComponent(bob)}`,
    ]
    for (const uri of uris) {
      const { status } = await peer.ask(server, 'GET', `/_matrix/federation/v1/${uri}`)
      expect({ uri, status }).toEqual({ uri, status: 403 })
    }
  })
})

describe('missing events that are wrong', () => {
  it('by a bad number are left out, and what follows is not lost', async () => {
    const { peer, alice, roomId, room, bob } = await sharedRoom()
    await using _ = peer
    const bad = room.append({ type: 'org.example.bad', sender: bob, content: { half: 0.5 } })
    const shown = room.append(text(bob, 'after the bad one'))
    await peer.transact(server, [shown])
    const mark = room.build({
      ...text(bob, unique('mark')),
      prev: [room.lookUp('m.room.member', bob) ?? ''],
      depth: 10,
    })
    await peer.transact(server, [mark])
    await eventually(
      () => idsHere(alice, roomId),
      (ids) => ids.includes(mark.id),
    )
    expect(await idsHere(alice, roomId)).not.toContain(bad.id)
  })

  it('by their signature are left out', async () => {
    const { peer, alice, roomId, room, bob } = await sharedRoom()
    await using _ = peer
    const unsigned = room.build(text(bob, 'nobody signed this'))
    const broken = { id: unsigned.id, json: { ...unsigned.json, signatures: {} } }
    room.add(broken)
    const shown = room.append(text(bob, 'after it'))
    await peer.transact(server, [shown])
    const mark = room.build({
      ...text(bob, unique('mark')),
      prev: [room.lookUp('m.room.member', bob) ?? ''],
      depth: 10,
    })
    await peer.transact(server, [mark])
    await eventually(
      () => idsHere(alice, roomId),
      (ids) => ids.includes(mark.id),
    )
    expect(await idsHere(alice, roomId)).not.toContain(unsigned.id)
  })
})

describe('a room whose answer to send_join', () => {
  it.each([
    ['lacks signatures of old events', (json: Body) => ({ ...json, signatures: {} })],
    [
      'has bad signatures of old events',
      (json: Body, name: string, key: string) => ({
        ...json,
        signatures: { [name]: { [key]: 'A'.repeat(86) } },
      }),
    ],
    [
      'has old events signed with keys that cannot be had',
      (json: Body, name: string) => ({
        ...json,
        signatures: { [name]: { 'ed25519:none': 'A'.repeat(86) } },
      }),
    ],
  ])('%s is joined without them', async (_, spoil) => {
    await using peer = await createPeer()
    const room = peer.createRoom('11')
    const creator = peer.user('creator')
    const rotten = room.append({
      type: 'org.example.rotten',
      stateKey: '',
      sender: creator,
      content: { a: 1 },
    })
    room.events.set(rotten.id, spoil(rotten.json, peer.name, peer.key.id))
    room.append({ type: 'm.room.name', stateKey: '', sender: creator, content: { name: 'sound' } })
    const alice = await register(server)
    await alice.join(room.roomId, [peer.name])
    await alice.syncUntil(inSection('join', room.roomId))
    expect(await alice.getState(room.roomId, 'm.room.name')).toEqual({ name: 'sound' })
    const answer = await alice.ask(
      'GET',
      alice.room(room.roomId, 'state', 'org.example.rotten', ''),
    )
    expect(answer.status).toBe(404)
  })

  it('rests on auth events without signatures is joined without what rests on them', async () => {
    await using peer = await createPeer()
    const room = peer.createRoom('11')
    const guest = peer.user('guest')
    const member = (sender: string, membership: string) =>
      room.append({ type: 'm.room.member', stateKey: guest, sender, content: { membership } })
    const invite = member(peer.user('creator'), 'invite')
    member(guest, 'join')
    room.events.set(invite.id, { ...invite.json, signatures: {} })
    const alice = await register(server)
    await alice.join(room.roomId, [peer.name])
    await alice.syncUntil(inSection('join', room.roomId))
    const answer = await alice.ask('GET', alice.room(room.roomId, 'state', 'm.room.member', guest))
    expect(answer.status).toBe(404)
  })
})

describe('an invite', () => {
  it('is taken back by the inviter’s server, and by no other', async () => {
    await using peer = await createPeer()
    await using other = await createPeer()
    const alice = await register(server)
    const room = peer.createRoom('11', { joinRule: { join_rule: 'invite' } })
    const creator = peer.user('creator')
    const invite = room.append({
      type: 'm.room.member',
      sender: creator,
      stateKey: alice.userId,
      content: { membership: 'invite' },
    })
    const uri = `/_matrix/federation/v2/invite/${encodeURIComponent(room.roomId)}/${encodeURIComponent(invite.id)}`
    await peer.ask(server, 'PUT', uri, {
      room_version: '11',
      event: invite.json,
      invite_room_state: room.jsonOf([room.lookUp('m.room.create') ?? '']),
    })
    const { next_batch: since } = await alice.syncUntil(inSection('invite', room.roomId))
    const forged = {
      sender: other.user('mallory'),
      type: 'm.room.member',
      stateKey: alice.userId,
      content: { membership: 'leave' },
    }
    await other.transact(server, [room.build(forged)])
    expect((await alice.sync()).rooms.invite[room.roomId]).toBeDefined()
    const leave = room.append({
      type: 'm.room.member',
      sender: creator,
      stateKey: alice.userId,
      content: { membership: 'leave' },
    })
    await peer.transact(server, [leave])
    await alice.syncUntil(inSection('leave', room.roomId), { since })
  })

  it('to a banned user lifts nothing', async () => {
    const { peer, alice, roomId, bob } = await sharedRoom()
    await using _ = peer
    await alice.ban(roomId, bob)
    await expect(alice.invite(roomId, bob)).rejects.toMatchObject({ status: 403 })
    const uri = `/_matrix/federation/v1/make_join/${encodeURIComponent(roomId)}/${encodeURIComponent(bob)}?ver=11`
    expect((await peer.ask(server, 'GET', uri)).status).toBe(403)
  })
})

describe('a partition', () => {
  it('heals: both sides’ messages are there, in an order that respects the graph', async () => {
    const { peer, alice, roomId, room, bob } = await sharedRoom()
    await using _ = peer
    const theirs = [1, 2, 3].map((i) => room.append(text(bob, `theirs ${i}`)))
    const ours = [await alice.sendText(roomId, 'ours 1'), await alice.sendText(roomId, 'ours 2')]
    await peer.transact(server, theirs)
    await eventually(
      () => idsHere(alice, roomId),
      (ids) => theirs.every(({ id }) => ids.includes(id)),
    )
    const ids = (await idsHere(alice, roomId)).toReversed()
    const order = (list: readonly string[]) => list.map((id) => ids.indexOf(id))
    expect(order(ours)).toEqual(order(ours).toSorted((a, b) => a - b))
    expect(order(theirs.map(({ id }) => id))).toEqual(
      order(theirs.map(({ id }) => id)).toSorted((a, b) => a - b),
    )
    await alice.sendText(roomId, 'healed')
    const healed = await peer.receivesPdu(({ content }) => Object(content)['body'] === 'healed')
    expect(new Set(room.idsOf(healed['prev_events']))).toEqual(
      new Set([theirs.at(-1)?.id, ours.at(-1)]),
    )
  })
})

describe('a create event of version 12', () => {
  it('cannot be sent into a room', async () => {
    const { peer, alice, roomId, room, bob } = await sharedRoom('12')
    await using _ = peer
    const again = room.build({
      type: 'm.room.create',
      stateKey: '',
      sender: bob,
      content: { room_version: '12' },
      more: { room_id: roomId },
    })
    await peer.transact(server, [again])
    const mark = room.append(text(bob, 'mark'))
    await peer.transact(server, [mark])
    await eventually(
      () => idsHere(alice, roomId),
      (ids) => ids.includes(mark.id),
    )
    const create = (await alice.allState(roomId)).find(({ type }) => type === 'm.room.create')
    expect(create?.sender).toBe(alice.userId)
  })

  it('is not among the auth events of others, and carries no room id', async () => {
    const { peer, alice, roomId, room } = await sharedRoom('12')
    await using _ = peer
    const create = room.lookUp('m.room.create') ?? ''
    expect(`!${create.slice(1)}`).toBe(roomId)
    expect(room.events.get(create)).not.toHaveProperty('room_id')
    for (const json of room.events.values()) expect(json['auth_events']).not.toContain(create)
    await alice.sendText(roomId, 'x')
    const pdu = await peer.receivesPdu(({ content }) => Object(content)['body'] === 'x')
    expect(pdu['auth_events']).not.toContain(create)
  })
})
