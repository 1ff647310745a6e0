import { describe, expect, it } from 'vitest'
import { type Client, inTimeline, register } from '../harness/client.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { path } from '../harness/http.ts'
import { createPeer } from '../harness/peer.ts'
import { urlUnderTest } from '../harness/settings.ts'

const jump = (user: Client, room: string, ts: number, dir: 'f' | 'b') =>
  user.ask('GET', path('/_matrix/client/v1/rooms', room, 'timestamp_to_event'), {
    query: { ts, dir },
  })

/** Lets a millisecond go by, so that what is sent next has another time. */
async function nextMs(): Promise<number> {
  const now = Date.now()
  while (Date.now() <= now + 1) await new Promise((resolve) => setTimeout(resolve, 2))
  return Date.now()
}

/** A room with two messages, and times around them. */
async function roomWithMessages() {
  const alice = await register(server, 'alice')
  const beforeRoom = (await nextMs()) - 1
  const room = await alice.createRoom({ preset: 'public_chat' })
  const beforeFirst = await nextMs()
  const first = await alice.sendText(room, 'Message A')
  const between = await nextMs()
  const second = await alice.sendText(room, 'Message B')
  const afterSecond = await nextMs()
  return { alice, room, beforeRoom, beforeFirst, first, between, second, afterSecond }
}

describe('an event is found by its time', () => {
  it('looking forwards', async () => {
    const { alice, room, beforeFirst, first, between, second } = await roomWithMessages()
    expect(await jump(alice, room, beforeFirst, 'f')).toMatchObject({
      status: 200,
      body: { event_id: first, origin_server_ts: expect.any(Number) },
    })
    expect((await jump(alice, room, between, 'f')).body['event_id']).toBe(second)
  })

  it('looking backwards', async () => {
    const { alice, room, first, between, second, afterSecond } = await roomWithMessages()
    expect((await jump(alice, room, afterSecond, 'b')).body['event_id']).toBe(second)
    expect((await jump(alice, room, between, 'b')).body['event_id']).toBe(first)
  })

  it('but not before the first one or after the last one', async () => {
    const { alice, room, beforeRoom, afterSecond } = await roomWithMessages()
    const none = { status: 404, body: { errcode: 'M_NOT_FOUND' } }
    expect(await jump(alice, room, beforeRoom, 'b')).toMatchObject(none)
    expect(await jump(alice, room, afterSecond + 60_000, 'f')).toMatchObject(none)
  })

  it.each(['private_chat', 'public_chat'])(
    'only by members, in a room of the preset %s',
    async (preset) => {
      const { room } = await joinedRoom({ preset: 'public_chat' })
      const alice = await register(server)
      const hidden = preset === 'public_chat' ? room : await alice.createRoom({ preset })
      const stranger = await register(server)
      expect(await jump(stranger, hidden, 0, 'f')).toMatchObject({
        status: 403,
        body: { errcode: 'M_FORBIDDEN' },
      })
    },
  )
})

describe.skipIf(urlUnderTest !== undefined)('among events of one time', () => {
  it('the last is found looking backwards, and the first looking forwards', async () => {
    await using peer = await createPeer()
    const alice = await register(server)
    const roomId = await alice.createRoom({ preset: 'public_chat' })
    const bob = peer.user('bob')
    const room = await peer.join(server, roomId, bob)
    const time = Date.now() + 60_000
    const events = Array.from({ length: 3 }, (_, count) =>
      room.append({
        ...{ type: 'm.room.message', sender: bob, more: { origin_server_ts: time } },
        content: { msgtype: 'm.text', body: `message ${count}` },
      }),
    )
    await peer.transact(server, events)
    const [first, , last] = events.map(({ id }) => id)
    await alice.syncUntil(inTimeline(roomId, ({ event_id: id }) => id === last))
    expect((await jump(alice, roomId, time, 'b')).body['event_id']).toBe(last)
    expect((await jump(alice, roomId, time, 'f')).body['event_id']).toBe(first)
  })
})
