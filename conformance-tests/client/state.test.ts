import { describe, expect, it } from 'vitest'
import { inTimeline, login, register, unique } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'

const forbidden = { status: 403, errcode: 'M_FORBIDDEN' }

describe('the state of a room', () => {
  it('is set and read by type and key', async () => {
    const { alice, bob, room } = await joinedRoom()
    const id = await alice.setState(room, 'org.example.state', 'key', { a: 1 })
    expect(id).toMatch(/^\$/)
    expect(await bob.getState(room, 'org.example.state', 'key')).toEqual({ a: 1 })
    await alice.setState(room, 'org.example.state', 'key', { a: 2 })
    expect(await bob.getState(room, 'org.example.state', 'key')).toEqual({ a: 2 })
  })

  it('with an empty key may be named with and without the slash', async () => {
    const { alice, room } = await joinedRoom()
    const base = alice.room(room, 'state', 'm.room.name')
    await alice.call('PUT', base, { body: { name: 'one' } })
    expect(await alice.call('GET', `${base}/`)).toEqual({ name: 'one' })
    await alice.call('PUT', `${base}/`, { body: { name: 'two' } })
    expect(await alice.call('GET', base)).toEqual({ name: 'two' })
  })

  it('is read as a whole event when asked for', async () => {
    const { alice, room } = await joinedRoom({ name: 'a name' })
    const answer = await alice.call('GET', alice.room(room, 'state', 'm.room.name', ''), {
      query: { format: 'event' },
    })
    expect(answer).toMatchObject({
      type: 'm.room.name',
      state_key: '',
      content: { name: 'a name' },
      sender: alice.userId,
      event_id: expect.stringMatching(/^\$/),
      room_id: room,
    })
  })

  it('is read in full', async () => {
    const { alice, bob, room } = await joinedRoom()
    const types = (await bob.allState(room)).map(({ type }) => type)
    expect(types).toEqual(
      expect.arrayContaining([
        'm.room.create',
        'm.room.member',
        'm.room.power_levels',
        'm.room.join_rules',
        'm.room.history_visibility',
      ]),
    )
    expect(types.filter((type) => type === 'm.room.member')).toHaveLength(2)
    expect((await alice.allState(room)).length).toBe(types.length)
  })

  it('that is not there is not found', async () => {
    const { alice, room } = await joinedRoom()
    expect(await alice.ask('GET', alice.room(room, 'state', 'org.example.none', ''))).toMatchObject(
      {
        status: 404,
        body: { errcode: 'M_NOT_FOUND' },
      },
    )
  })

  it('is shown to members only', async () => {
    const { room } = await joinedRoom()
    const stranger = await register(server)
    await expect(stranger.getState(room, 'm.room.create')).rejects.toMatchObject(forbidden)
  })

  it('that one left is that of then', async () => {
    const { alice, bob, room } = await joinedRoom({ name: 'then' })
    await bob.leave(room)
    await alice.setState(room, 'm.room.name', '', { name: 'now' })
    expect(await bob.getState(room, 'm.room.name')).toEqual({ name: 'then' })
  })

  it('refuses a key that is another user’s id', async () => {
    const { alice, bob, room } = await joinedRoom()
    await expect(alice.setState(room, 'org.example.mine', bob.userId, {})).rejects.toMatchObject(
      forbidden,
    )
    await alice.setState(room, 'org.example.mine', alice.userId, {})
  })

  it('keeps the event id when the same content is set again', async () => {
    const { alice, room } = await joinedRoom()
    const first = await alice.setState(room, 'm.room.name', '', { name: 'same' })
    expect(await alice.setState(room, 'm.room.name', '', { name: 'same' })).toBe(first)
  })

  it('says in unsigned what it replaces', async () => {
    const { alice, room } = await joinedRoom()
    const first = await alice.setState(room, 'm.room.topic', '', { topic: 'old' })
    const { next_batch: since } = await alice.sync()
    const second = await alice.setState(room, 'm.room.topic', '', { topic: 'new' })
    const answer = await alice.syncUntil(
      inTimeline(room, ({ event_id }) => event_id === second),
      { since },
    )
    const event = answer.rooms.join[room]?.timeline.events.find(
      ({ event_id }) => event_id === second,
    )
    expect(event?.unsigned).toMatchObject({
      prev_content: { topic: 'old' },
      replaces_state: first,
      prev_sender: alice.userId,
    })
  })
})

describe('power levels', () => {
  it('say who may send what', async () => {
    const { alice, bob, room } = await joinedRoom({ room_version: '11' })
    const levels = await alice.getState(room, 'm.room.power_levels')
    await expect(bob.setState(room, 'm.room.name', '', { name: 'x' })).rejects.toMatchObject(
      forbidden,
    )
    await alice.setState(room, 'm.room.power_levels', '', {
      ...levels,
      events_default: 10,
      users: { [alice.userId]: 100, [bob.userId]: 50 },
    })
    await bob.setState(room, 'm.room.name', '', { name: 'x' })
    const carol = await register(server)
    await carol.join(room)
    await expect(carol.sendText(room, 'hi')).rejects.toMatchObject(forbidden)
  })

  it('cannot be raised above one’s own', async () => {
    const { alice, bob, room } = await joinedRoom({ room_version: '11' })
    const levels = await alice.getState(room, 'm.room.power_levels')
    const users = { [alice.userId]: 100, [bob.userId]: 50 }
    const events = { 'm.room.power_levels': 50 }
    await alice.setState(room, 'm.room.power_levels', '', { ...levels, users, events })
    const set = (change: object) =>
      bob.setState(room, 'm.room.power_levels', '', { ...levels, users, events, ...change })
    await expect(set({ users: { ...users, [bob.userId]: 51 } })).rejects.toMatchObject(forbidden)
    await expect(set({ users: { ...users, [alice.userId]: 0 } })).rejects.toMatchObject(forbidden)
    await expect(set({ ban: 51 })).rejects.toMatchObject(forbidden)
    await expect(set({ events: { ...events, 'm.room.name': 51 } })).rejects.toMatchObject(forbidden)
    await set({ users: { ...users, [bob.userId]: 40 } })
  })

  it('of an equal cannot be taken, one’s own can', async () => {
    const { alice, bob, room } = await joinedRoom({ room_version: '11' })
    const levels = await alice.getState(room, 'm.room.power_levels')
    const both = { [alice.userId]: 100, [bob.userId]: 100 }
    await alice.setState(room, 'm.room.power_levels', '', { ...levels, users: both })
    const set = (users: object) =>
      alice.setState(room, 'm.room.power_levels', '', { ...levels, users })
    await expect(set({ ...both, [bob.userId]: 0 })).rejects.toMatchObject(forbidden)
    await set({ ...both, [alice.userId]: 50 })
  })

  it('can be lowered for everybody by users_default', async () => {
    const { alice, bob, room } = await joinedRoom({ room_version: '11' })
    const levels = await alice.getState(room, 'm.room.power_levels')
    const users = { [alice.userId]: 100 }
    await alice.setState(room, 'm.room.power_levels', '', { ...levels, users, users_default: 100 })
    await bob.setState(room, 'm.room.name', '', { name: 'everybody may' })
    await alice.setState(room, 'm.room.power_levels', '', { ...levels, users, users_default: 40 })
    await expect(bob.setState(room, 'm.room.name', '', { name: 'no more' })).rejects.toMatchObject(
      forbidden,
    )
  })

  it.each(['10', '11', '12'])('must be integers in version %s', async (version) => {
    const { alice, room } = await joinedRoom({ room_version: version })
    const levels = await alice.getState(room, 'm.room.power_levels')
    for (const wrong of [
      { ban: '50' },
      { users: { '@a:b': '5' } },
      { events: { x: '1' } },
      { ban: 50.5 },
    ]) {
      const answer = await alice.ask('PUT', alice.room(room, 'state', 'm.room.power_levels', ''), {
        body: { ...levels, ...wrong },
      })
      expect(answer.status).toBeGreaterThanOrEqual(400)
      expect(answer.status).toBeLessThan(404)
    }
  })
})

describe('sending', () => {
  it('is idempotent for a transaction id of the device', async () => {
    const { alice, bob, room } = await joinedRoom()
    const txn = unique('txn')
    const ids = await Promise.all([1, 2, 3].map(() => alice.sendText(room, 'once', txn)))
    expect(new Set(ids).size).toBe(1)
    expect(await alice.sendText(room, 'another text', txn)).toBe(ids[0])
    const { chunk } = await bob.messages(room)
    expect(chunk.filter(({ content }) => content['body'] === 'once')).toHaveLength(1)
  })

  it('with the same transaction id in another room or from another device is another event', async () => {
    const { alice, room } = await joinedRoom()
    const other = await alice.createRoom()
    const phone = await login(server, alice.userId)
    const txn = unique('txn')
    const ids = [
      await alice.sendText(room, 'a', txn),
      await alice.sendText(other, 'a', txn),
      await phone.sendText(room, 'a', txn),
    ]
    expect(new Set(ids).size).toBe(3)
  })

  it('tells the transaction id to the device that sent, and to no other', async () => {
    const { alice, bob, room } = await joinedRoom()
    const phone = await login(server, alice.userId)
    const txn = unique('txn')
    const id = await alice.sendText(room, 'mine', txn)
    const seenBy = async (client: typeof alice) => {
      const answer = await client.syncUntil(inTimeline(room, ({ event_id }) => event_id === id))
      return answer.rooms.join[room]?.timeline.events.find(({ event_id }) => event_id === id)
        ?.unsigned
    }
    expect(await seenBy(alice)).toMatchObject({ transaction_id: txn })
    expect(await seenBy(phone)).not.toHaveProperty('transaction_id')
    expect(await seenBy(bob)).not.toHaveProperty('transaction_id')
    expect((await alice.event(room, id)).unsigned).toMatchObject({ transaction_id: txn })
  })

  it('is refused to those who are not in the room', async () => {
    const { room } = await joinedRoom()
    const stranger = await register(server)
    await expect(stranger.sendText(room, 'hi')).rejects.toMatchObject(forbidden)
  })

  it('refuses an event above 65,536 bytes', async () => {
    const { alice, room } = await joinedRoom()
    const answer = await alice.ask('PUT', alice.room(room, 'send', 'm.room.message', unique('t')), {
      body: { msgtype: 'm.text', body: 'x'.repeat(66_000) },
    })
    expect(answer).toMatchObject({ status: 413, body: { errcode: 'M_TOO_LARGE' } })
    await alice.sendText(room, 'x'.repeat(60_000))
  })

  it('refuses a type above 255 bytes', async () => {
    const { alice, room } = await joinedRoom()
    const answer = await alice.ask('PUT', alice.room(room, 'send', 'x'.repeat(256), unique('t')), {
      body: {},
    })
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(answer.status).toBeLessThan(500)
  })

  it.each(['1.5', '9007199254740993', '-9007199254740993'])(
    'refuses the number %s, which canonical JSON does not have',
    async (number) => {
      const { alice, room } = await joinedRoom()
      const answer = await alice.ask(
        'PUT',
        alice.room(room, 'send', 'org.example.number', unique('t')),
        {
          raw: `{"number":${number}}`,
        },
      )
      expect(answer).toMatchObject({ status: 400, body: { errcode: 'M_BAD_JSON' } })
    },
  )

  itSynapseBreaks(
    'Numbers are integers in the range [-(2**53)+1, (2**53)-1] (it answers 500 to infinity)',
  )('refuses a number that is no number any more', async () => {
    const { alice, room } = await joinedRoom()
    const where = alice.room(room, 'send', 'org.example.number', unique('t'))
    expect(await alice.ask('PUT', where, { raw: '{"number":1e400}' })).toMatchObject({
      status: 400,
    })
  })

  it('keeps every character of the content', async () => {
    const { alice, bob, room } = await joinedRoom()
    const content = {
      msgtype: 'm.text',
      body: 'ünï \u{1F4A9} \\ " \u0007 \u2028',
      __proto__x: { '10': 1, '9': [null] },
    }
    const id = await alice.sendEvent(room, 'm.room.message', content)
    expect((await bob.event(room, id)).content).toEqual(content)
  })
})

describe('a redaction', () => {
  it.each(['10', '11', '12'])('empties the event for everybody, in version %s', async (version) => {
    const { alice, bob, room } = await joinedRoom({ room_version: version })
    const id = await bob.sendText(room, 'to be taken back')
    const redaction = await bob.redact(room, id, 'a slip')
    const event = await alice.event(room, id)
    expect(event.content).toEqual({})
    expect(event.unsigned['redacted_because']).toMatchObject({
      type: 'm.room.redaction',
      event_id: redaction,
      sender: bob.userId,
    })
    const shown = await alice.event(room, redaction)
    expect(shown.content).toMatchObject({ reason: 'a slip' })
    // Clients of either age find what is redacted.
    if (version !== '10') expect(shown.content['redacts']).toBe(id)
    expect(shown.redacts).toBe(id)
  })

  it('reaches those who sync', async () => {
    const { alice, bob, room } = await joinedRoom()
    const id = await bob.sendText(room, 'x')
    const { next_batch: since } = await alice.sync()
    const redaction = await bob.redact(room, id)
    await alice.syncUntil(
      inTimeline(room, ({ event_id }) => event_id === redaction),
      { since },
    )
  })

  it('of another’s event needs the level for it', async () => {
    const { alice, bob, room } = await joinedRoom({ room_version: '11' })
    const id = await alice.sendText(room, 'x')
    await expect(bob.redact(room, id)).rejects.toMatchObject(forbidden)
    const mine = await bob.sendText(room, 'y')
    await alice.redact(room, mine)
    expect((await bob.event(room, mine)).content).toEqual({})
  })

  it('of a member event keeps the membership', async () => {
    const { alice, bob, room } = await joinedRoom()
    const member = (await alice.allState(room)).find(({ state_key }) => state_key === bob.userId)
    await alice.redact(room, member?.event_id ?? '')
    expect(await alice.getState(room, 'm.room.member', bob.userId)).toEqual({ membership: 'join' })
    await bob.sendText(room, 'still a member')
  })
})
