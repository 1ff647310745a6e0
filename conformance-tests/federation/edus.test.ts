import { describe, expect, it } from 'vitest'
import { inTimeline, register } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { path } from '../harness/http.ts'
import { createPeer } from '../harness/peer.ts'

async function sharedRoom() {
  const peer = await createPeer()
  const alice = await register(server, 'alice')
  const roomId = await alice.createRoom({ preset: 'public_chat', room_version: '11' })
  const bob = peer.user('bob')
  const room = await peer.join(server, roomId, bob)
  const { next_batch: since } = await alice.syncUntil(
    inTimeline(roomId, ({ state_key }) => state_key === bob),
  )
  return { peer, alice, roomId, room, bob, since }
}

describe('what is not an event, from another server:', () => {
  it('typing is shown', async () => {
    const { peer, alice, roomId, bob, since } = await sharedRoom()
    await using _ = peer
    const typing = {
      edu_type: 'm.typing',
      content: { room_id: roomId, user_id: bob, typing: true },
    }
    await peer.transact(server, [], [typing])
    await alice.syncUntil(
      ({ rooms }) => JSON.stringify(rooms.join[roomId]?.ephemeral ?? {}).includes(bob),
      { since },
    )
  })

  it('typing and receipts of users of a third server are not believed', async () => {
    const { peer, alice, roomId, room, bob, since } = await sharedRoom()
    await using _ = peer
    const id = await alice.sendText(roomId, 'x')
    const mallory = '@mallory:elsewhere.example'
    await peer.transact(
      server,
      [],
      [
        { edu_type: 'm.typing', content: { room_id: roomId, user_id: mallory, typing: true } },
        {
          edu_type: 'm.receipt',
          content: { [roomId]: { 'm.read': { [mallory]: { data: { ts: 1 }, event_ids: [id] } } } },
        },
      ],
    )
    const mark = room.append({ type: 'm.room.message', sender: bob, content: { body: 'mark' } })
    await peer.transact(server, [mark])
    const answer = await alice.syncUntil(
      inTimeline(roomId, ({ event_id }) => event_id === mark.id),
      { since },
    )
    expect(JSON.stringify(answer)).not.toContain(mallory)
  })

  it('a receipt is shown', async () => {
    const { peer, alice, roomId, bob, since } = await sharedRoom()
    await using _ = peer
    const id = await alice.sendText(roomId, 'read me')
    const content = {
      [roomId]: { 'm.read': { [bob]: { data: { ts: Date.now() }, event_ids: [id] } } },
    }
    await peer.transact(server, [], [{ edu_type: 'm.receipt', content }])
    await alice.syncUntil(
      ({ rooms }) => JSON.stringify(rooms.join[roomId]?.ephemeral ?? {}).includes(`"${bob}":{"ts"`),
      { since },
    )
  })

  it('presence is shown', async () => {
    const { peer, alice, bob, since } = await sharedRoom()
    await using _ = peer
    const push = [
      {
        user_id: bob,
        presence: 'online',
        status_msg: 'far away',
        last_active_ago: 1,
        currently_active: true,
      },
    ]
    await peer.transact(server, [], [{ edu_type: 'm.presence', content: { push } }])
    await alice.syncUntil(({ presence }) => presence.events.some(({ sender }) => sender === bob), {
      since,
    })
  })
})

describe('what is not an event, for another server:', () => {
  it('typing arrives', async () => {
    const { peer, alice, roomId } = await sharedRoom()
    await using _ = peer
    await alice.call('PUT', alice.room(roomId, 'typing', alice.userId), {
      body: { typing: true, timeout: 10_000 },
    })
    const edu = await peer.receivesEdu(({ edu_type: type }) => type === 'm.typing')
    expect(edu['content']).toMatchObject({ room_id: roomId, user_id: alice.userId, typing: true })
  })

  it('a receipt arrives', async () => {
    const { peer, alice, roomId, room, bob } = await sharedRoom()
    await using _ = peer
    const message = room.append({
      type: 'm.room.message',
      sender: bob,
      content: { body: 'read me' },
    })
    await peer.transact(server, [message])
    await alice.syncUntil(inTimeline(roomId, ({ event_id }) => event_id === message.id))
    await alice.call('POST', alice.room(roomId, 'receipt', 'm.read', message.id), { body: {} })
    const edu = await peer.receivesEdu(({ edu_type: type }) => type === 'm.receipt')
    expect(edu['content']).toMatchObject({
      [roomId]: {
        'm.read': { [alice.userId]: { event_ids: [message.id], data: { ts: expect.any(Number) } } },
      },
    })
  })

  it('a private receipt does not', async () => {
    const { peer, alice, roomId, room, bob } = await sharedRoom()
    await using _ = peer
    const message = room.append({
      type: 'm.room.message',
      sender: bob,
      content: { body: 'read me' },
    })
    await peer.transact(server, [message])
    await alice.syncUntil(inTimeline(roomId, ({ event_id }) => event_id === message.id))
    await alice.call('POST', alice.room(roomId, 'receipt', 'm.read.private', message.id), {
      body: {},
    })
    await alice.call('PUT', alice.room(roomId, 'typing', alice.userId), {
      body: { typing: true, timeout: 10_000 },
    })
    await peer.receivesEdu(({ edu_type: type }) => type === 'm.typing')
    expect(JSON.stringify(peer.edus())).not.toContain('m.read.private')
  })

  it('presence arrives', async () => {
    const { peer, alice } = await sharedRoom()
    await using _ = peer
    await alice.call('PUT', path('/_matrix/client/v3/presence', alice.userId, 'status'), {
      body: { presence: 'online', status_msg: 'here' },
    })
    await peer.receivesEdu(
      ({ edu_type: type, content }) =>
        type === 'm.presence' && JSON.stringify(content).includes('"here"'),
    )
  })
})
