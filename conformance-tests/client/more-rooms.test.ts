import { describe, expect, it } from 'vitest'
import { inTimeline, register, unique } from '../harness/client.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { path } from '../harness/http.ts'

const v3 = '/_matrix/client/v3'
const forbidden = { status: 403, errcode: 'M_FORBIDDEN' }

describe('making a room', () => {
  it('does not take its version from the creation content', async () => {
    const alice = await register(server)
    const room = await alice.createRoom({
      room_version: '10',
      creation_content: { room_version: 'test' },
    })
    expect(await alice.getState(room, 'm.room.create')).toMatchObject({ room_version: '10' })
  })

  it('prefers the topic to one in the initial state', async () => {
    const alice = await register(server)
    const initial = { type: 'm.room.topic', state_key: '', content: { topic: 'from the state' } }
    const first = await alice.createRoom({ initial_state: [initial] })
    const second = await alice.createRoom({ initial_state: [initial], topic: 'from the topic' })
    expect(await alice.getState(first, 'm.room.topic')).toMatchObject({ topic: 'from the state' })
    expect(await alice.getState(second, 'm.room.topic')).toMatchObject({ topic: 'from the topic' })
  })
})

describe('membership', () => {
  it('cannot be an invite to oneself', async () => {
    const alice = await register(server)
    const room = await alice.createRoom()
    await expect(alice.invite(room, alice.userId)).rejects.toMatchObject(forbidden)
  })

  it('keeps what a client says with its join', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({ preset: 'public_chat' })
    await bob.join(room, [], { 'org.example.extra': 'kept or not, but no error' })
    expect(await alice.getState(room, 'm.room.member', bob.userId)).toMatchObject({
      membership: 'join',
    })
  })

  it('may be set as state, within the same rules', async () => {
    const { alice, bob, room } = await joinedRoom()
    const carol = await register(server)
    await alice.setState(room, 'm.room.member', carol.userId, { membership: 'invite' })
    await carol.join(room)
    await expect(
      bob.setState(room, 'm.room.member', carol.userId, { membership: 'ban' }),
    ).rejects.toMatchObject(forbidden)
    await alice.setState(room, 'm.room.member', bob.userId, { membership: 'ban' })
    await expect(bob.sendText(room, 'x')).rejects.toMatchObject(forbidden)
  })

  it('of a user is not a server’s to invent: a value that does not exist is refused', async () => {
    const { alice, room } = await joinedRoom()
    const answer = await alice.ask(
      'PUT',
      alice.room(room, 'state', 'm.room.member', alice.userId),
      {
        body: { membership: 'dancing' },
      },
    )
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(answer.status).toBeLessThan(500)
  })

  it('of a banned user becomes a leave by unban, and the user can be invited', async () => {
    const { alice, bob, room } = await joinedRoom({ preset: 'public_chat' })
    await alice.setState(room, 'm.room.join_rules', '', { join_rule: 'invite' })
    await alice.ban(room, bob.userId)
    await alice.unban(room, bob.userId)
    await expect(bob.join(room)).rejects.toMatchObject({ status: 403 })
    await alice.invite(room, bob.userId)
    await bob.join(room)
  })

  it('knows why: every action carries its reason', async () => {
    const { alice, bob, room } = await joinedRoom()
    const reasonOf = async () => (await alice.getState(room, 'm.room.member', bob.userId))['reason']
    await bob.leave(room, { reason: 'leave' })
    expect(await reasonOf()).toBe('leave')
    await alice.invite(room, bob.userId, { reason: 'invite' })
    expect(await reasonOf()).toBe('invite')
    await bob.join(room, [], { reason: 'join' })
    expect(await reasonOf()).toBe('join')
    await alice.ban(room, bob.userId, { reason: 'ban' })
    expect(await reasonOf()).toBe('ban')
    await alice.unban(room, bob.userId, { reason: 'unban' })
    expect(await reasonOf()).toBe('unban')
  })

  it('sees the profile of a user, renamed in one room only', async () => {
    const { alice, bob, room } = await joinedRoom()
    await bob.setState(room, 'm.room.member', bob.userId, {
      membership: 'join',
      displayname: 'here only',
    })
    expect(await alice.getState(room, 'm.room.member', bob.userId)).toMatchObject({
      displayname: 'here only',
    })
  })
})

describe('power levels', () => {
  it('may come into a room that had none', async () => {
    const { alice, room } = await joinedRoom({ room_version: '11' })
    await alice.setState(room, 'm.room.power_levels', '', { users: { [alice.userId]: 100 } })
    await alice.setState(room, 'm.room.power_levels', '', {
      users: { [alice.userId]: 100 },
      users_default: 1,
    })
  })

  it('in version 12 go up to the largest integer and not beyond', async () => {
    const { alice, bob, room } = await joinedRoom({ room_version: '12' })
    const levels = await alice.getState(room, 'm.room.power_levels')
    const set = (level: string) =>
      alice.ask('PUT', alice.room(room, 'state', 'm.room.power_levels', ''), {
        raw: JSON.stringify({ ...levels, users: { [bob.userId]: 0 } }).replace(
          `"${bob.userId}":0`,
          `"${bob.userId}":${level}`,
        ),
      })
    expect((await set('9007199254740991')).status).toBe(200)
    expect((await set('9007199254740992')).status).toBe(400)
  })
})

describe('a canonical alias', () => {
  it('is taken away with the alias that it names', async () => {
    const { alice, room } = await joinedRoom()
    const alias = `#${unique('alias')}:${server.name}`
    const where = path(`${v3}/directory/room`, alias)
    await alice.call('PUT', where, { body: { room_id: room } })
    await alice.setState(room, 'm.room.canonical_alias', '', { alias })
    await alice.call('DELETE', where)
    expect((await alice.getState(room, 'm.room.canonical_alias'))['alias']).toBeUndefined()
  })
})

describe('numbers that JSON does not have', () => {
  it.each(['NaN', 'Infinity', '-Infinity'])('are refused: %s', async (number) => {
    const { alice, room } = await joinedRoom()
    const where = alice.room(room, 'send', 'org.example.number', unique('t'))
    const answer = await alice.ask('PUT', where, { raw: `{"number":${number}}` })
    expect(answer).toMatchObject({
      status: 400,
      body: { errcode: expect.stringMatching(/^M_(NOT|BAD)_JSON$/) },
    })
  })
})

describe('state', () => {
  it('that is too large is refused as messages are', async () => {
    const { alice, room } = await joinedRoom()
    const answer = await alice.ask('PUT', alice.room(room, 'state', 'org.example.big', ''), {
      body: { big: 'x'.repeat(66_000) },
    })
    expect(answer).toMatchObject({ status: 413, body: { errcode: 'M_TOO_LARGE' } })
  })

  it('of the create event cannot be sent again', async () => {
    const { alice, room } = await joinedRoom()
    const answer = await alice.ask('PUT', alice.room(room, 'state', 'm.room.create', ''), {
      body: { room_version: '11' },
    })
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(answer.status).toBeLessThan(500)
  })

  it('that was changed is shown to those who wait', async () => {
    const { alice, bob, room } = await joinedRoom()
    const { next_batch: since } = await bob.sync()
    const waiting = bob.syncUntil(
      inTimeline(room, ({ type }) => type === 'm.room.topic'),
      { since },
    )
    const id = await alice.setState(room, 'm.room.topic', '', { topic: 'news' })
    expect(JSON.stringify(await waiting)).toContain(id)
  })
})

describe('names and passwords', () => {
  it('with the shared secret follow the same rules', async () => {
    const alice = await register(server, 'x', { username: unique('CAPITALS') })
    expect(alice.userId).toBe(alice.userId.toLowerCase())
  })

  it('may be any text, as passwords', async () => {
    const alice = await register(server, 'alice', { password: 'übermäßig 🔑' })
    const answer = await alice.call('POST', `${v3}/login`, {
      body: {
        type: 'm.login.password',
        identifier: { type: 'm.id.user', user: alice.userId },
        password: 'übermäßig 🔑',
      },
    })
    expect(answer['user_id']).toBe(alice.userId)
  })
})
