/** A server that the room's ACL shuts out, at every endpoint that names a room. */
import { beforeAll, describe, expect, it } from 'vitest'
import { type Client, inTimeline, register } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import type { Body } from '../harness/http.ts'
import { createPeer, type Peer } from '../harness/peer.ts'
import type { PeerRoom } from '../harness/room-builder.ts'
import { underTestIsSynapse } from '../harness/settings.ts'

let peer: Peer
let alice: Client
let bob: string
let roomId: string
let room: PeerRoom
let eventId: string

beforeAll(async () => {
  peer = await createPeer({ host: '127.0.0.1' })
  alice = await register(server, 'alice')
  bob = peer.user('bob')
  roomId = await alice.createRoom({ preset: 'public_chat', room_version: '11' })
  room = await peer.join(server, roomId, bob)
  await alice.syncUntil(inTimeline(roomId, ({ state_key }) => state_key === bob))
  eventId = await alice.sendText(roomId, 'not for you')
  await alice.setState(roomId, 'm.room.server_acl', '', { allow: ['*'], deny: ['127.0.0.?'] })
  return () => peer[Symbol.asyncDispose]()
})

/** A membership of the peer's user, as the room's rules would allow it but for the ACL. */
const member = (membership: string, stateKey = bob) =>
  room.build({ type: 'm.room.member', sender: bob, stateKey, content: { membership } })

interface Asked {
  readonly method?: string
  readonly uri: () => string
  readonly body?: () => Body
}

const where = (rest: string, ...parts: readonly string[]) =>
  `/_matrix/federation/${rest}/${parts.map(encodeURIComponent).join('/')}`

function handshakes(): [string, Asked][] {
  return (['join', 'leave', 'knock'] as const).flatMap((kind): [string, Asked][] => {
    const versions = kind === 'knock' ? ['v1'] : ['v1', 'v2']
    const event = () => member(kind)
    return [
      [`make_${kind}`, { uri: () => `${where(`v1/make_${kind}`, roomId, bob)}?ver=11` }],
      ...versions.map((version): [string, Asked] => [
        `send_${kind} ${version}`,
        {
          method: 'PUT',
          uri: () => where(`${version}/send_${kind}`, roomId, event().id),
          body: () => event().json,
        },
      ]),
    ]
  })
}

describe('a server that is shut out is refused at', () => {
  it.each<[string, Asked]>([
    ...handshakes(),
    [
      'invite v2',
      {
        method: 'PUT',
        uri: () => where('v2/invite', roomId, member('invite', alice.userId).id),
        body: () => ({
          room_version: '11',
          event: member('invite', alice.userId).json,
          invite_room_state: [],
        }),
      },
    ],
    [
      'backfill',
      { uri: () => `${where('v1/backfill', roomId)}?v=${encodeURIComponent(eventId)}&limit=5` },
    ],
    [
      'get_missing_events',
      {
        method: 'POST',
        uri: () => where('v1/get_missing_events', roomId),
        body: () => ({ earliest_events: [], latest_events: [eventId], limit: 5 }),
      },
    ],
    [
      'state',
      { uri: () => `${where('v1/state', roomId)}?event_id=${encodeURIComponent(eventId)}` },
    ],
    [
      'state_ids',
      { uri: () => `${where('v1/state_ids', roomId)}?event_id=${encodeURIComponent(eventId)}` },
    ],
    ['event_auth', { uri: () => where('v1/event_auth', roomId, eventId) }],
    ['timestamp_to_event', { uri: () => `${where('v1/timestamp_to_event', roomId)}?ts=1&dir=f` }],
  ])('%s', async (_, { method = 'GET', uri, body }) => {
    const answer = await peer.ask(server, method, uri(), body?.())
    expect(answer).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
    expect(JSON.stringify(answer)).not.toContain('not for you')
  })

  // The specification does not list this one.
  it.skipIf(underTestIsSynapse)('event, as if there were none', async () => {
    const { status, body } = await peer.ask(server, 'GET', where('v1/event', eventId))
    expect([403, 404]).toContain(status)
    expect(JSON.stringify(body)).not.toContain('not for you')
  })

  it('send, for each event by itself', async () => {
    const denied = room.build({
      type: 'm.room.message',
      sender: bob,
      content: { body: 'let me in' },
    })
    const { status, body } = await peer.transact(server, [denied])
    expect(status).toBe(200)
    expect(body).toMatchObject({ pdus: { [denied.id]: { error: expect.any(String) } } })
  })

  it('and no more when it is let in again', async () => {
    await alice.setState(roomId, 'm.room.server_acl', '', { allow: ['*'] })
    const { status } = await peer.ask(server, 'GET', where('v1/event', eventId))
    expect(status).toBe(200)
  })
})
