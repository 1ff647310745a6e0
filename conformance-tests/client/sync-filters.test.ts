import { describe, expect, it } from 'vitest'
import { inTimeline, login, register } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { path } from '../harness/http.ts'

const v3 = '/_matrix/client/v3'

describe('a filter', () => {
  it('is stored and read by its owner', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const definition = { room: { timeline: { limit: 3, types: ['m.room.message'] } } }
    const id = await alice.filter(definition)
    expect(await alice.call('GET', path(`${v3}/user`, alice.userId, 'filter', id))).toEqual(
      definition,
    )
    const other = await bob.ask('GET', path(`${v3}/user`, alice.userId, 'filter', id))
    expect([403, 404]).toContain(other.status)
    expect(
      (await alice.ask('GET', path(`${v3}/user`, alice.userId, 'filter', '999999'))).status,
    ).toBe(404)
  })

  itSynapseBreaks(
    'M_BAD_JSON: Request contained valid JSON, but it was malformed in some way, e.g. … invalid values for keys.',
  ).each([{ room: 'x' }, { room: { timeline: { limit: 'many' } } }])(
    'of the wrong types is refused: %j',
    async (definition) => {
      const alice = await register(server)
      const answer = await alice.ask('POST', path(`${v3}/user`, alice.userId, 'filter'), {
        body: definition,
      })
      expect(answer.status).toBe(400)
    },
  )

  it.each([
    { room: { timeline: { senders: ['nobody'] } } },
    { event_format: 'poem' },
    { presence: { types: 'x' } },
  ])('of a wrong form is refused: %j', async (definition) => {
    const alice = await register(server)
    const answer = await alice.ask('POST', path(`${v3}/user`, alice.userId, 'filter'), {
      body: definition,
    })
    expect(answer.status).toBe(400)
  })

  it('chooses types, senders and their opposites', async () => {
    const { alice, bob, room } = await joinedRoom()
    await alice.sendText(room, 'from alice')
    await bob.sendText(room, 'from bob')
    await bob.sendEvent(room, 'org.example.other', { a: 1 })
    const timeline = async (filter: object) => {
      const { rooms } = await alice.sync({
        filter: { room: { timeline: { limit: 20, ...filter } } },
      })
      return rooms.join[room]?.timeline.events.map(({ type, sender }) => `${type} ${sender}`) ?? []
    }
    expect(await timeline({ types: ['m.room.message'], senders: [bob.userId] })).toEqual([
      `m.room.message ${bob.userId}`,
    ])
    expect(await timeline({ types: ['org.example.*'] })).toEqual([
      `org.example.other ${bob.userId}`,
    ])
    expect(await timeline({ not_types: ['m.room.*'] })).toEqual([`org.example.other ${bob.userId}`])
    expect(await timeline({ types: ['m.room.message'], not_senders: [bob.userId] })).toEqual([
      `m.room.message ${alice.userId}`,
    ])
  })

  it('chooses rooms', async () => {
    const { alice, room } = await joinedRoom({ room_version: '11' })
    const other = await alice.createRoom({ room_version: '11' })
    await alice.sendText(other, 'x')
    await alice.sendText(room, 'x')
    const joined = async (filter: object) => {
      const { rooms } = await alice.sync({ filter: { room: filter } })
      return Object.entries(rooms.join).flatMap(([id, { timeline }]) =>
        timeline.events.length ? [id] : [],
      )
    }
    expect(await joined({ rooms: [room] })).toEqual([room])
    expect(await joined({ not_rooms: [room] })).toEqual([other])
  })

  it('by its stored id works as by its text', async () => {
    const { alice, bob, room } = await joinedRoom()
    const filter = await alice.filter({ room: { timeline: { types: ['m.room.message'] } } })
    const id = await bob.sendText(room, 'x')
    const { rooms } = await alice.syncUntil(
      inTimeline(room, ({ event_id }) => event_id === id),
      { filter },
    )
    expect(rooms.join[room]?.timeline.events.map(({ type }) => type)).toEqual(['m.room.message'])
  })

  it('may ask for the format that servers use', async () => {
    const { alice, room } = await joinedRoom({ room_version: '11' })
    const { rooms } = await alice.sync({ filter: { event_format: 'federation' } })
    expect(rooms.join[room]?.timeline.events[0]).toMatchObject({
      auth_events: expect.any(Array),
      prev_events: expect.any(Array),
      hashes: expect.any(Object),
    })
  })
})

describe('lazy loading of members', () => {
  it('gives only those who speak, and each once', async () => {
    const { alice, bob, room } = await joinedRoom({ name: 'without heroes' })
    const carol = await register(server)
    await carol.join(room)
    for (let i = 0; i < 6; i++) await bob.sendText(room, `${i}`)
    const filter = { room: { state: { lazy_load_members: true }, timeline: { limit: 3 } } }
    const first = await alice.sync({ filter })
    const members = (answer: typeof first) =>
      (answer.rooms.join[room]?.state.events ?? [])
        .filter(({ type }) => type === 'm.room.member')
        .map(({ state_key }) => state_key)
        .sort()
    expect(members(first)).toContain(bob.userId)
    expect(members(first)).not.toContain(carol.userId)
    const { next_batch: since } = first
    await bob.sendText(room, 'again')
    await carol.sendText(room, 'me too')
    const second = await alice.syncUntil(
      inTimeline(room, ({ sender }) => sender === carol.userId),
      { since, filter },
    )
    expect(members(second)).toEqual([carol.userId])
    expect(first.rooms.join[room]?.summary).toMatchObject({ 'm.joined_member_count': 3 })
  })

  it('names heroes in a room without a name', async () => {
    const { alice, bob, room } = await joinedRoom()
    const filter = { room: { state: { lazy_load_members: true } } }
    const { rooms } = await alice.sync({ filter })
    expect(rooms.join[room]?.summary).toMatchObject({
      'm.heroes': [bob.userId],
      'm.joined_member_count': 2,
      'm.invited_member_count': 0,
    })
  })
})

describe('who may see what', () => {
  it.each([
    ['shared', true, true],
    ['invited', false, true],
    ['joined', false, false],
  ])('of the time before, with history %s', async (visibility, beforeInvite, beforeJoin) => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({
      preset: 'private_chat',
      initial_state: [
        { type: 'm.room.history_visibility', content: { history_visibility: visibility } },
      ],
    })
    const early = await alice.sendText(room, 'before the invite')
    await alice.invite(room, bob.userId)
    const middle = await alice.sendText(room, 'before the join')
    await bob.join(room)
    const late = await alice.sendText(room, 'after the join')
    const { chunk } = await bob.messages(room, { limit: 50 })
    const seen = chunk.map(({ event_id }) => event_id)
    expect(seen.includes(early)).toBe(beforeInvite)
    expect(seen.includes(middle)).toBe(beforeJoin)
    expect(seen.includes(late)).toBe(true)
    const { rooms } = await bob.sync({ filter: { room: { timeline: { limit: 50 } } } })
    const timeline = rooms.join[room]?.timeline.events.map(({ event_id }) => event_id) ?? []
    expect(timeline.includes(early)).toBe(beforeInvite)
    expect(timeline.includes(middle)).toBe(beforeJoin)
    const answer = await bob.ask('GET', bob.room(room, 'event', early))
    expect(answer.status).toBe(beforeInvite ? 200 : 404)
  })

  it('is anybody, where the world may read', async () => {
    const alice = await register(server)
    const room = await alice.createRoom({
      initial_state: [
        { type: 'm.room.history_visibility', content: { history_visibility: 'world_readable' } },
      ],
    })
    const id = await alice.sendText(room, 'for all')
    const stranger = await register(server)
    expect((await stranger.event(room, id)).content['body']).toBe('for all')
    const { chunk } = await stranger.messages(room)
    expect(chunk.map(({ event_id }) => event_id)).toContain(id)
  })

  it('leaves out the ignored', async () => {
    const { alice, bob, room } = await joinedRoom()
    await alice.call('PUT', alice.dataPath('m.ignored_user_list'), {
      body: { ignored_users: { [bob.userId]: {} } },
    })
    const { next_batch: since } = await alice.sync()
    await bob.sendText(room, 'nobody hears me')
    const mark = await alice.sendText(room, 'mark')
    const answer = await alice.syncUntil(
      inTimeline(room, ({ event_id }) => event_id === mark),
      { since },
    )
    expect(JSON.stringify(answer)).not.toContain('nobody hears me')
    const other = await alice.createRoom()
    await alice.leave(other)
    const theirs = await bob.createRoom({ invite: [alice.userId] })
    const later = await alice.sync({ since: answer.next_batch })
    expect(later.rooms.invite[theirs]).toBeUndefined()
  })

  it('is the same on every device of the user', async () => {
    const { alice, bob, room } = await joinedRoom()
    const phone = await login(server, alice.userId)
    const id = await bob.sendText(room, 'to all devices')
    for (const device of [alice, phone]) {
      await device.syncUntil(inTimeline(room, ({ event_id }) => event_id === id))
    }
  })
})
