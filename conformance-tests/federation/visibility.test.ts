import { describe, expect, it } from 'vitest'
import { register } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { type Body, isBody, path } from '../harness/http.ts'
import { picture, upload } from '../harness/media.ts'
import { eventId } from '../harness/pdu.ts'
import { createPeer } from '../harness/peer.ts'

const v1 = '/_matrix/federation/v1'
const list = (value: unknown): Body[] => (Array.isArray(value) ? value.filter(isBody) : [])
const encoded = (text: string) => encodeURIComponent(text)

/** A room of this visibility with a message, which the peer joins after it. */
async function joinedLater(visibility: string) {
  const peer = await createPeer()
  const alice = await register(server, 'alice')
  const roomId = await alice.createRoom({ preset: 'public_chat' })
  await alice.setState(roomId, 'm.room.history_visibility', '', {
    history_visibility: visibility,
  })
  const sent = Date.now()
  const message = await alice.sendText(roomId, 'before the join')
  const bob = peer.user('bob')
  const room = await peer.join(server, roomId, bob)
  return { peer, alice, roomId, message, room, bob, sent }
}

describe('events from before a server joined', () => {
  it.each([
    ['world_readable', true],
    ['shared', true],
    ['invited', false],
    ['joined', false],
  ])('are among the missing ones, with visibility %s (contents: %s)', async (visibility, whole) => {
    const { peer, roomId, message, room, bob } = await joinedLater(visibility)
    await using _ = peer
    const create = room.lookUp('m.room.create') ?? `$${roomId.slice(1)}`
    const { status, body } = await peer.ask(
      ...([server, 'POST', `${v1}/get_missing_events/${encoded(roomId)}`] as const),
      {
        earliest_events: [create],
        latest_events: [room.lookUp('m.room.member', bob)],
        limit: 10,
        min_depth: 1,
      },
    )
    expect(status).toBe(200)
    const found = list(body['events'])
    // To share with whoever joins is what the room did already.
    const settings = visibility === 'shared' ? 1 : 2
    expect(found.map(({ type }) => type)).toEqual([
      ...['m.room.member', 'm.room.power_levels', 'm.room.join_rules'],
      ...Array.from({ length: settings }, () => 'm.room.history_visibility'),
      'm.room.message',
    ])
    const last = found.at(-1) ?? {}
    expect(eventId(last, room.version)).toBe(message)
    expect(last['content']).toEqual(whole ? { msgtype: 'm.text', body: 'before the join' } : {})
  })
})

describe('an event asked for by its time', () => {
  it('is told to servers in the room only', async () => {
    const { peer, roomId, message, sent } = await joinedLater('shared')
    await using _ = peer
    const found = `${v1}/timestamp_to_event/${encoded(roomId)}?ts=${sent}&dir=f`
    expect(await peer.ask(server, 'GET', found)).toMatchObject({
      ...{ status: 200, body: { event_id: message, origin_server_ts: expect.any(Number) } },
    })
    await using stranger = await createPeer()
    const uri = `${v1}/timestamp_to_event/${encoded(roomId)}?ts=0&dir=f`
    expect((await stranger.ask(server, 'GET', uri)).status).toBe(403)
    const beyond = `${v1}/timestamp_to_event/${encoded(roomId)}?ts=${Date.now() + 60_000}&dir=f`
    expect(await peer.ask(server, 'GET', beyond)).toMatchObject({
      ...{ status: 404, body: { errcode: 'M_NOT_FOUND' } },
    })
  })

  it('is taken from another server where the history here ends', async () => {
    await using peer = await createPeer()
    const room = peer.createRoom('11')
    const creator = peer.user('creator')
    const imported = room.append({
      ...{ type: 'm.room.message', sender: creator },
      content: { msgtype: 'm.text', body: 'an old event, imported' },
      more: { origin_server_ts: 1_641_168_000_000 },
    })
    room.append({
      ...{ type: 'm.room.message', sender: creator },
      content: { msgtype: 'm.text', body: 'a newer one' },
    })
    peer.on('GET', /^\/_matrix\/federation\/v1\/timestamp_to_event\//, () => ({
      ...{ event_id: imported.id, origin_server_ts: 1_641_168_000_000 },
    }))
    const beforeRoom = Date.now() - 3_600_000
    const alice = await register(server)
    await alice.join(room.roomId, [peer.name])
    const where = path('/_matrix/client/v1/rooms', room.roomId, 'timestamp_to_event')
    const found = await alice.call('GET', where, { query: { ts: beforeRoom, dir: 'b' } })
    expect(found).toEqual({ event_id: imported.id, origin_server_ts: 1_641_168_000_000 })
    const event = await alice.event(room.roomId, imported.id)
    expect(event.content['body']).toBe('an old event, imported')
  })
})

describe('media of another server', () => {
  it.each(['download', 'thumbnail'])('comes as metadata and content: %s', async (what) => {
    await using peer = await createPeer()
    const alice = await register(server)
    const uri = await upload(alice, picture, { type: 'image/png', filename: 'a.png' })
    const where = `${v1}/media/${what}/${uri.split('/').at(-1)}`
    const query = what === 'thumbnail' ? '?width=32&height=32&method=scale' : ''
    const { status, text } = await peer.ask(server, 'GET', `${where}${query}`)
    expect(status).toBe(200)
    expect(text).toMatch(/content-type: application\/json\r\n\r\n\{\}\r\n--/i)
    expect(text).toMatch(/content-type: image\/png\r\n(.+\r\n)*\r\n.PNG/i)
  })

  it.each([
    ['download', `${v1}/media/download/nothing`],
    ['thumbnail', `${v1}/media/thumbnail/nothing?width=32&height=32`],
  ])('that it does not have is not found: %s', async (_, uri) => {
    await using peer = await createPeer()
    expect(await peer.ask(server, 'GET', uri)).toMatchObject({
      ...{ status: 404, body: { errcode: 'M_NOT_FOUND' } },
    })
  })

  it('is not given to strangers', async () => {
    await using peer = await createPeer()
    const uri = `${v1}/media/download/nothing`
    expect((await peer.plain(server.name, { method: 'GET', uri })).status).toBe(401)
  })
})
