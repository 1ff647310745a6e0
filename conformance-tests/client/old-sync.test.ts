/** What clients asked before there was /sync: snapshots, the stream of events, and the preview of rooms by it. */
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type Client, eventually, register } from '../harness/client.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { path } from '../harness/http.ts'
import { event } from '../harness/shapes.ts'

const v3 = '/_matrix/client/v3'
const streamed = z.object({ start: z.string(), end: z.string(), chunk: z.array(event) })
const roomShape = z.looseObject({
  room_id: z.string(),
  membership: z.string().optional(),
  visibility: z.string().optional(),
  inviter: z.string().optional(),
  state: z.array(event).default([]),
  account_data: z.array(event).default([]),
  messages: z
    .object({ chunk: z.array(event), start: z.string(), end: z.string() })
    .default({ chunk: [], start: '', end: '' }),
})
const snapshotShape = z.looseObject({
  end: z.string(),
  rooms: z.array(roomShape),
  presence: z.array(event),
})

const snapshot = async (client: Client, query = {}) =>
  snapshotShape.parse(await client.call('GET', `${v3}/initialSync`, { query }))
const roomSnapshot = async (client: Client, room: string, query = {}) =>
  roomShape.parse(await client.call('GET', client.room(room, 'initialSync'), { query }))
const events = async (client: Client, from: string, more = {}) =>
  streamed.parse(
    await client.call('GET', `${v3}/events`, { query: { from, timeout: 5_000, ...more } }),
  )

const readableByAll = {
  initial_state: [
    {
      type: 'm.room.history_visibility',
      state_key: '',
      content: { history_visibility: 'world_readable' },
    },
  ],
}

describe('GET /initialSync', () => {
  it('has the rooms with state, messages and whether they are public, and invites', async () => {
    const { alice, bob, room } = await joinedRoom({ name: 'a name' })
    const id = await bob.sendText(room, 'hello')
    const invited = await bob.createRoom({ invite: [alice.userId] })
    const { rooms } = await eventually(
      () => snapshot(alice, { limit: 2 }),
      (found) => found.rooms.length === 2,
    )
    const shown = rooms.find(({ room_id }) => room_id === room)
    expect(shown).toMatchObject({ membership: 'join', visibility: 'private' })
    expect(shown?.messages.chunk).toHaveLength(2)
    expect(shown?.messages.chunk.at(-1)).toMatchObject({ event_id: id, room_id: room })
    expect(shown?.state).toContainEqual(expect.objectContaining({ content: { name: 'a name' } }))
    const { chunk } = await alice.messages(room, { from: shown?.messages.start })
    expect(chunk.map(({ event_id }) => event_id)).not.toContain(id)
    const invite = rooms.find(({ room_id }) => room_id === invited)
    expect(invite).toMatchObject({ membership: 'invite', inviter: bob.userId })
  })

  it('has the rooms that were left when they are asked for', async () => {
    const { bob, room } = await joinedRoom()
    await bob.leave(room)
    expect((await snapshot(bob)).rooms).toEqual([])
    const { rooms } = await snapshot(bob, { archived: true })
    expect(rooms).toMatchObject([{ room_id: room, membership: 'leave' }])
  })
})

describe('GET /rooms/{roomId}/initialSync', () => {
  it('has the room’s state, messages and account data', async () => {
    const { alice, bob, room } = await joinedRoom({ name: 'one room' })
    await alice.call('PUT', alice.dataPath('org.example.data', room), { body: { a: 1 } })
    const id = await bob.sendText(room, 'last')
    const shown = await roomSnapshot(alice, room, { limit: 3 })
    expect(shown).toMatchObject({ room_id: room, membership: 'join' })
    expect(shown.messages.chunk).toHaveLength(3)
    expect(shown.messages.chunk.at(-1)).toMatchObject({ event_id: id })
    expect(shown.state).toContainEqual(expect.objectContaining({ content: { name: 'one room' } }))
    expect(shown.account_data).toContainEqual(
      expect.objectContaining({ type: 'org.example.data', content: { a: 1 } }),
    )
  })

  it('is refused to strangers, and given to them when the world may read the room', async () => {
    const { room } = await joinedRoom()
    const stranger = await register(server)
    const refused = await stranger.ask('GET', stranger.room(room, 'initialSync'))
    expect(refused.status).toBe(403)
    const open = await joinedRoom(readableByAll)
    const id = await open.alice.sendText(open.room, 'for all')
    const shown = await roomSnapshot(stranger, open.room)
    expect(shown.messages.chunk.at(-1)).toMatchObject({ event_id: id })
  })
})

describe('GET /events', () => {
  it('waits for what happens in one’s rooms, and goes on from there', async () => {
    const { alice, bob, room } = await joinedRoom()
    const { end: from } = await snapshot(alice)
    const waiting = eventually(
      () => events(alice, from),
      ({ chunk }) => chunk.some(({ type }) => type === 'm.room.message'),
    )
    const id = await bob.sendText(room, 'news')
    const first = await waiting
    expect(first.chunk).toContainEqual(expect.objectContaining({ event_id: id, room_id: room }))
    const later = await bob.sendText(room, 'more')
    const second = await eventually(
      () => events(alice, first.end),
      ({ chunk }) => chunk.some(({ event_id }) => event_id === later),
    )
    expect(second.chunk.map(({ event_id }) => event_id)).not.toContain(id)
  })

  it('tells of typing and of an invite', async () => {
    const { alice, bob, room } = await joinedRoom()
    const { end: from } = await snapshot(alice)
    await bob.call('PUT', path(`${v3}/rooms`, room, 'typing', bob.userId), {
      body: { typing: true, timeout: 20_000 },
    })
    await eventually(
      () => events(alice, from),
      ({ chunk }) => chunk.some((one) => one.type === 'm.typing' && one.room_id === room),
    )
    const invited = await bob.createRoom({ invite: [alice.userId] })
    await eventually(
      () => events(alice, from),
      ({ chunk }) => chunk.some((one) => one.state_key === alice.userId && one.room_id === invited),
    )
  })

  it('shows a room that the world may read to those who are not in it', async () => {
    const { alice, room } = await joinedRoom(readableByAll)
    const stranger = await register(server)
    const { end: from } = await snapshot(stranger)
    const waiting = eventually(
      () => events(stranger, from, { room_id: room }),
      ({ chunk }) => chunk.some(({ type }) => type === 'm.room.message'),
    )
    const id = await alice.sendText(room, 'peek')
    expect((await waiting).chunk).toContainEqual(
      expect.objectContaining({ event_id: id, room_id: room }),
    )
  })

  it('refuses a room that one may not read', async () => {
    const { room } = await joinedRoom()
    const stranger = await register(server)
    const { end: from } = await snapshot(stranger)
    const answer = await stranger.ask('GET', `${v3}/events`, {
      query: { from, room_id: room, timeout: 0 },
    })
    expect(answer.status).toBe(403)
  })

  it('gives single events to those who may see them', async () => {
    const { alice, bob, room } = await joinedRoom()
    const id = await alice.sendText(room, 'single')
    const shown = await bob.call('GET', path(`${v3}/events`, id))
    expect(shown).toMatchObject({ event_id: id, room_id: room })
    const stranger = await register(server)
    expect((await stranger.ask('GET', path(`${v3}/events`, id))).status).toBeGreaterThan(400)
  })
})
