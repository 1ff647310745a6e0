import { expect, it } from 'vitest'
import { type Client, register } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { type Body, isBody } from '../harness/http.ts'
import { createPeer, type Peer } from '../harness/peer.ts'
import { createPeerRoom } from '../harness/room-builder.ts'

/** Joins a user of the peer and answers what came with it. */
async function joinWithout(peer: Peer, roomId: string, user: string, query: string): Promise<Body> {
  const where = `${encodeURIComponent(roomId)}/${encodeURIComponent(user)}`
  const uri = `/_matrix/federation/v1/make_join/${where}?ver=10&ver=11&ver=12`
  const { body: made } = await peer.ask(server, 'GET', uri)
  const version = String(made['room_version'])
  const { depth, prev_events, auth_events, content } = Object(made['event'])
  const room = createPeerRoom({ version, server: peer.name, key: peer.key, roomId })
  const event = room.build({
    ...{ type: 'm.room.member', sender: user, stateKey: user, content },
    more: { depth, prev_events, auth_events },
  })
  const place = `${encodeURIComponent(roomId)}/${encodeURIComponent(event.id)}`
  const sent = `/_matrix/federation/v2/send_join/${place}${query}`
  const answer = await peer.ask(server, 'PUT', sent, event.json)
  expect(answer.status).toBe(200)
  return answer.body
}

const keysOf = (events: unknown): string[] =>
  (Array.isArray(events) ? events : [])
    .filter(isBody)
    .map(({ type, state_key }) => `${type}|${state_key}`)
    .sort()

async function publicRoom(
  more: Body = {},
): Promise<{ alice: Client; bob: Client; roomId: string }> {
  const alice = await register(server, 'alice')
  const bob = await register(server, 'bob')
  const roomId = await alice.createRoom({ preset: 'public_chat', ...more })
  await bob.join(roomId)
  return { alice, bob, roomId }
}

const always = ['m.room.create|', 'm.room.history_visibility|', 'm.room.join_rules|']

it('gives a joining server that asks for it the state without members, but for those who name the room', async () => {
  await using peer = await createPeer()
  const { alice, bob, roomId } = await publicRoom()
  const answer = await joinWithout(peer, roomId, peer.user('carol'), '?omit_members=true')
  expect(answer).toMatchObject({ members_omitted: true, servers_in_room: [server.name] })
  const members = [`m.room.member|${alice.userId}`, `m.room.member|${bob.userId}`]
  expect(keysOf(answer['state'])).toEqual([...always, ...members, 'm.room.power_levels|'].sort())
  expect(answer['auth_chain']).toEqual([])
})

it('gives it no members at all where the room has a name, but those who authorise the rest', async () => {
  await using peer = await createPeer()
  const { alice, roomId } = await publicRoom({ name: 'named' })
  const answer = await joinWithout(peer, roomId, peer.user('carol'), '?omit_members=true')
  expect(answer).toMatchObject({ members_omitted: true, servers_in_room: [server.name] })
  expect(keysOf(answer['state'])).toEqual(
    [...always, 'm.room.name|', 'm.room.power_levels|'].sort(),
  )
  expect(keysOf(answer['auth_chain'])).toEqual([`m.room.member|${alice.userId}`])
})

it('names a server that was in the room before among its servers', async () => {
  await using peer = await createPeer()
  const { roomId } = await publicRoom()
  await joinWithout(peer, roomId, peer.user('carol'), '?omit_members=true')
  const answer = await joinWithout(peer, roomId, peer.user('dave'), '?omit_members=true')
  expect(new Set(Object(answer)['servers_in_room'])).toEqual(new Set([server.name, peer.name]))
})

it('gives all members to a server that does not ask for less', async () => {
  await using peer = await createPeer()
  const { alice, bob, roomId } = await publicRoom({ name: 'named' })
  const answer = await joinWithout(peer, roomId, peer.user('carol'), '')
  expect(answer['members_omitted'] ?? false).toBe(false)
  expect(keysOf(answer['state'])).toEqual(
    expect.arrayContaining([`m.room.member|${alice.userId}`, `m.room.member|${bob.userId}`]),
  )
})
