import { describe, expect, it } from 'vitest'
import { login, register } from '../harness/client.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { path } from '../harness/http.ts'
import type { SyncAnswer } from '../harness/shapes.ts'

const v3 = '/_matrix/client/v3'

const ephemeral = (answer: SyncAnswer, room: string, type: string) =>
  answer.rooms.join[room]?.ephemeral.events.find((event) => event.type === type)?.content

describe('typing', () => {
  it('is shown to the others and ends', async () => {
    const { alice, bob, room } = await joinedRoom()
    const { next_batch: since } = await alice.sync()
    const typing = (on: boolean) =>
      bob.call('PUT', bob.room(room, 'typing', bob.userId), {
        body: { typing: on, timeout: 20_000 },
      })
    await typing(true)
    const shows = (ids: string[]) => (answer: SyncAnswer) =>
      JSON.stringify(ephemeral(answer, room, 'm.typing')?.['user_ids']) === JSON.stringify(ids)
    const seen = await alice.syncUntil(shows([bob.userId]), { since })
    await typing(false)
    await alice.syncUntil(shows([]), { since: seen.next_batch })
  })

  it('ends by itself', async () => {
    const { alice, bob, room } = await joinedRoom()
    await bob.call('PUT', bob.room(room, 'typing', bob.userId), {
      body: { typing: true, timeout: 500 },
    })
    const seen = await alice
      .syncUntil((answer) =>
        JSON.stringify(ephemeral(answer, room, 'm.typing')).includes(bob.userId),
      )
      .catch(() => alice.sync())
    await alice.syncUntil(
      (answer) => JSON.stringify(ephemeral(answer, room, 'm.typing')?.['user_ids']) === '[]',
      {
        since: seen.next_batch,
      },
    )
  })

  it('for somebody else is refused', async () => {
    const { alice, bob, room } = await joinedRoom()
    const answer = await alice.ask('PUT', alice.room(room, 'typing', bob.userId), {
      body: { typing: true },
    })
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(answer.status).toBeLessThan(404)
  })

  it('is refused to those who are not in the room', async () => {
    const { room } = await joinedRoom()
    const stranger = await register(server)
    const answer = await stranger.ask('PUT', stranger.room(room, 'typing', stranger.userId), {
      body: { typing: true },
    })
    expect(answer.status).toBe(403)
  })
})

describe('receipts', () => {
  it('are shown with event, kind, user and time', async () => {
    const { alice, bob, room } = await joinedRoom()
    const id = await alice.sendText(room, 'read me')
    const { next_batch: since } = await alice.sync()
    await bob.call('POST', bob.room(room, 'receipt', 'm.read', id), { body: {} })
    const answer = await alice.syncUntil((one) => ephemeral(one, room, 'm.receipt') !== undefined, {
      since,
    })
    expect(ephemeral(answer, room, 'm.receipt')).toMatchObject({
      [id]: { 'm.read': { [bob.userId]: { ts: expect.any(Number) } } },
    })
  })

  it('that are private are shown to their owner only', async () => {
    const { alice, bob, room } = await joinedRoom()
    const id = await alice.sendText(room, 'read me')
    const [a, b] = await Promise.all([alice.sync(), bob.sync()])
    await bob.call('POST', bob.room(room, 'receipt', 'm.read.private', id), { body: {} })
    await bob.syncUntil(
      (one) => JSON.stringify(ephemeral(one, room, 'm.receipt') ?? {}).includes('m.read.private'),
      {
        since: b.next_batch,
      },
    )
    const answer = await alice.sync({ since: a.next_batch })
    expect(ephemeral(answer, room, 'm.receipt')).toBeUndefined()
  })

  it('of a thread are apart from those of the room', async () => {
    const { alice, bob, room } = await joinedRoom()
    const root = await alice.sendText(room, 'root')
    const reply = await alice.sendEvent(room, 'm.room.message', {
      msgtype: 'm.text',
      body: 'in the thread',
      'm.relates_to': { rel_type: 'm.thread', event_id: root },
    })
    await bob.call('POST', bob.room(room, 'receipt', 'm.read', root), {
      body: { thread_id: 'main' },
    })
    await bob.call('POST', bob.room(room, 'receipt', 'm.read', reply), {
      body: { thread_id: root },
    })
    const { rooms } = await bob.sync()
    const receipts = JSON.stringify(rooms.join[room]?.ephemeral.events)
    expect(receipts).toContain('"thread_id":"main"')
    expect(receipts).toContain(`"thread_id":"${root}"`)
  })

  it.each([
    ['a kind that does not exist', 'm.unknown', {}],
    ['an empty thread', 'm.read', { thread_id: '' }],
    ['a thread that is no string', 'm.read', { thread_id: 7 }],
  ])('are refused with %s', async (_, kind, body) => {
    const { alice, room } = await joinedRoom()
    const id = await alice.sendText(room, 'x')
    expect((await alice.ask('POST', alice.room(room, 'receipt', kind, id), { body })).status).toBe(
      400,
    )
  })

  it('and the fully-read marker are set together', async () => {
    const { alice, bob, room } = await joinedRoom()
    const id = await alice.sendText(room, 'read me')
    const { next_batch: since } = await bob.sync()
    await bob.call('POST', bob.room(room, 'read_markers'), {
      body: { 'm.fully_read': id, 'm.read': id },
    })
    const answer = await bob.syncUntil(
      ({ rooms }) => (rooms.join[room]?.account_data.events ?? []).length > 0,
      { since },
    )
    expect(answer.rooms.join[room]?.account_data.events).toContainEqual(
      expect.objectContaining({ type: 'm.fully_read', content: { event_id: id } }),
    )
  })
})

describe('account data', () => {
  it('of the user is set, read and synced to every device', async () => {
    const alice = await register(server)
    const phone = await login(server, alice.userId)
    const { next_batch: since } = await phone.sync()
    await alice.call('PUT', alice.dataPath('org.example.data'), { body: { a: [1, { b: null }] } })
    expect(await phone.call('GET', phone.dataPath('org.example.data'))).toEqual({
      a: [1, { b: null }],
    })
    await phone.syncUntil(
      ({ account_data }) => account_data.events.some(({ type }) => type === 'org.example.data'),
      { since },
    )
  })

  it('of a room is set, read and synced', async () => {
    const { alice, room } = await joinedRoom()
    const { next_batch: since } = await alice.sync()
    await alice.call('PUT', alice.dataPath('org.example.data', room), { body: { room: true } })
    expect(await alice.call('GET', alice.dataPath('org.example.data', room))).toEqual({
      room: true,
    })
    const answer = await alice.syncUntil(
      ({ rooms }) => (rooms.join[room]?.account_data.events ?? []).length > 0,
      { since },
    )
    expect(answer.rooms.join[room]?.account_data.events[0]).toMatchObject({
      type: 'org.example.data',
      content: { room: true },
    })
  })

  it('is in an initial sync with its latest content', async () => {
    const alice = await register(server)
    for (const version of [1, 2]) {
      await alice.call('PUT', alice.dataPath('org.example.data'), { body: { version } })
    }
    const { account_data: data } = await alice.sync()
    expect(
      data.events.filter(({ type }) => type === 'org.example.data').map(({ content }) => content),
    ).toEqual([{ version: 2 }])
  })

  it('that is not there is not found', async () => {
    const { alice, room } = await joinedRoom()
    for (const where of [
      alice.dataPath('org.example.none'),
      alice.dataPath('org.example.none', room),
    ]) {
      expect(await alice.ask('GET', where)).toMatchObject({
        status: 404,
        body: { errcode: 'M_NOT_FOUND' },
      })
    }
  })

  it('of another user is out of reach', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const where = alice.dataPath('org.example.data')
    expect((await bob.ask('GET', where)).status).toBe(403)
    expect((await bob.ask('PUT', where, { body: {} })).status).toBe(403)
  })

  it('that the server writes cannot be written by hand', async () => {
    const { alice, room } = await joinedRoom()
    for (const type of ['m.fully_read', 'm.push_rules']) {
      const answer = await alice.ask('PUT', alice.dataPath(type, room), { body: {} })
      expect(answer).toMatchObject({ status: 405, body: { errcode: 'M_BAD_JSON' } })
    }
  })

  it('keeps tags of rooms', async () => {
    const { alice, room } = await joinedRoom()
    const tags = path(`${v3}/user`, alice.userId, 'rooms', room, 'tags')
    await alice.call('PUT', `${tags}/m.favourite`, { body: { order: 0.25 } })
    expect(await alice.call('GET', tags)).toEqual({ tags: { 'm.favourite': { order: 0.25 } } })
    await alice.call('DELETE', `${tags}/m.favourite`)
    expect(await alice.call('GET', tags)).toEqual({ tags: {} })
  })
})

describe('presence', () => {
  it('is set, read and shown to those who share a room', async () => {
    const { alice, bob } = await joinedRoom()
    const { next_batch: since } = await alice.sync()
    await bob.call('PUT', path(`${v3}/presence`, bob.userId, 'status'), {
      body: { presence: 'unavailable', status_msg: 'at lunch' },
    })
    const answer = await alice.syncUntil(
      ({ presence }) =>
        presence.events.some(
          ({ sender, content }) => sender === bob.userId && content['status_msg'] === 'at lunch',
        ),
      { since },
    )
    expect(
      answer.presence.events.find(({ sender }) => sender === bob.userId)?.content,
    ).toMatchObject({
      presence: 'unavailable',
    })
    expect(await alice.call('GET', path(`${v3}/presence`, bob.userId, 'status'))).toMatchObject({
      presence: 'unavailable',
      status_msg: 'at lunch',
    })
  })

  it('follows syncing', async () => {
    const { alice, bob } = await joinedRoom()
    const { next_batch: since } = await alice.sync()
    await bob.sync({ presence: 'online' })
    await alice.syncUntil(
      ({ presence }) =>
        presence.events.some(
          ({ sender, content }) => sender === bob.userId && content['presence'] === 'online',
        ),
      { since },
    )
  })

  it('of somebody else cannot be set', async () => {
    const { alice, bob } = await joinedRoom()
    const answer = await alice.ask('PUT', path(`${v3}/presence`, bob.userId, 'status'), {
      body: { presence: 'online' },
    })
    expect(answer.status).toBe(403)
  })
})
