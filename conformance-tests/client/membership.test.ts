import { describe, expect, it } from 'vitest'
import { inSection, inTimeline, register, unique } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { inviteAndJoin, joinedRoom, server } from '../harness/fixtures.ts'
import { path } from '../harness/http.ts'

const v3 = '/_matrix/client/v3'
const forbidden = { status: 403, errcode: 'M_FORBIDDEN' }

async function threeUsers() {
  const [alice, bob, carol] = await Promise.all(
    ['alice', 'bob', 'carol'].map((name) => register(server, name)),
  )
  if (!alice || !bob || !carol) throw new Error('three users')
  return { alice, bob, carol }
}

describe('joining', () => {
  it('works with the room id at both paths', async () => {
    const { alice, bob, carol } = await threeUsers()
    const room = await alice.createRoom({ preset: 'public_chat' })
    expect(await bob.call('POST', path(`${v3}/join`, room), { body: {} })).toMatchObject({
      room_id: room,
    })
    expect(await carol.call('POST', carol.room(room, 'join'), { body: {} })).toMatchObject({
      room_id: room,
    })
    const { joined } = await alice.call('GET', alice.room(room, 'joined_members'))
    expect(Object.keys(joined ?? {}).sort()).toEqual(
      [alice.userId, bob.userId, carol.userId].sort(),
    )
  })

  it('works with an alias', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const name = unique('alias')
    const room = await alice.createRoom({ preset: 'public_chat', room_alias_name: name })
    expect(await bob.join(`#${name}:${server.name}`)).toBe(room)
  })

  it('works without a body', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({ preset: 'public_chat' })
    expect(await bob.ask('POST', path(`${v3}/join`, room))).toMatchObject({ status: 200 })
  })

  it('twice is the same as once', async () => {
    const { alice, bob, room } = await joinedRoom()
    const before = await bob.getState(room, 'm.room.member', bob.userId)
    await bob.join(room)
    expect(await alice.getState(room, 'm.room.member', bob.userId)).toEqual(before)
  })

  it('carries a reason and the profile', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    await bob.call('PUT', `${path(`${v3}/profile`, bob.userId)}/displayname`, {
      body: { displayname: 'Bob B.' },
    })
    const room = await alice.createRoom({ preset: 'public_chat' })
    await bob.join(room, [], { reason: 'curious' })
    expect(await alice.getState(room, 'm.room.member', bob.userId)).toMatchObject({
      membership: 'join',
      displayname: 'Bob B.',
      reason: 'curious',
    })
  })

  it('a private room is refused without an invite', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({ preset: 'private_chat' })
    await expect(bob.join(room)).rejects.toMatchObject(forbidden)
  })

  it('a room that nobody knows is refused', async () => {
    const bob = await register(server)
    const answer = await bob.ask('POST', path(`${v3}/join`, `!${unique('none')}:${server.name}`), {
      body: {},
    })
    expect([403, 404]).toContain(answer.status)
    expect(
      (await bob.ask('POST', path(`${v3}/join`, `#${unique('none')}:${server.name}`), { body: {} }))
        .status,
    ).toBe(404)
  })

  it('with something that is neither id nor alias is refused', async () => {
    const bob = await register(server)
    const answer = await bob.ask('POST', path(`${v3}/join`, 'nonsense'), { body: {} })
    expect(answer.status).toBe(400)
  })

  it('is refused to a banned user', async () => {
    const { alice, bob, room } = await joinedRoom()
    await alice.ban(room, bob.userId)
    await expect(bob.join(room)).rejects.toMatchObject({ status: 403 })
  })

  it('is shown to those who are in the room', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({ preset: 'public_chat' })
    const { next_batch: since } = await alice.sync()
    await bob.join(room)
    await alice.syncUntil(
      inTimeline(
        room,
        ({ state_key, content }) => state_key === bob.userId && content['membership'] === 'join',
      ),
      { since },
    )
  })
})

describe('an invite', () => {
  it('lets a user join a private room', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({ preset: 'private_chat' })
    await inviteAndJoin(alice, bob, room)
  })

  it('shows the stripped state and no timeline', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({ preset: 'private_chat', name: 'Come in' })
    await alice.sendText(room, 'secret')
    await alice.invite(room, bob.userId, { reason: 'please' })
    const answer = await bob.syncUntil(inSection('invite', room))
    const events = answer.rooms.invite[room]?.invite_state.events ?? []
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'm.room.name', content: { name: 'Come in' } }),
    )
    const member = events.find(({ state_key }) => state_key === bob.userId)
    expect(member).toMatchObject({
      sender: alice.userId,
      content: { membership: 'invite', reason: 'please' },
    })
    expect(JSON.stringify(answer)).not.toContain('secret')
  })

  it('can be refused by leaving', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({ preset: 'private_chat' })
    await alice.invite(room, bob.userId)
    const { next_batch: since } = await bob.syncUntil(inSection('invite', room))
    await bob.leave(room)
    await bob.syncUntil(inSection('leave', room), { since })
    await expect(bob.join(room)).rejects.toMatchObject(forbidden)
  })

  it('can be taken back', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({ preset: 'private_chat' })
    await alice.invite(room, bob.userId)
    await alice.kick(room, bob.userId)
    await expect(bob.join(room)).rejects.toMatchObject(forbidden)
  })

  it('is refused to somebody who is in the room or banned from it', async () => {
    const { alice, bob, room } = await joinedRoom()
    await expect(alice.invite(room, bob.userId)).rejects.toMatchObject({ status: 403 })
    await alice.ban(room, bob.userId)
    await expect(alice.invite(room, bob.userId)).rejects.toMatchObject({ status: 403 })
  })

  it('is refused from somebody who is not in the room', async () => {
    const { alice, bob, carol } = await threeUsers()
    const room = await alice.createRoom({ preset: 'public_chat' })
    await expect(bob.invite(room, carol.userId)).rejects.toMatchObject({ status: 403 })
  })

  it('needs the level that the room asks for', async () => {
    const { bob, room } = await joinedRoom({ power_level_content_override: { invite: 50 } })
    const carol = await register(server)
    await expect(bob.invite(room, carol.userId)).rejects.toMatchObject(forbidden)
  })

  it('needs a user id', async () => {
    const alice = await register(server)
    const room = await alice.createRoom()
    for (const body of [{}, { user_id: 'nobody' }]) {
      const answer = await alice.ask('POST', alice.room(room, 'invite'), { body })
      expect(answer.status).toBe(400)
    }
  })

  itSynapseBreaks(
    'M_BAD_JSON: Request contained valid JSON, but it was malformed in some way, e.g. missing required keys, invalid values for keys.',
  )('needs a user id that is a string', async () => {
    const alice = await register(server)
    const room = await alice.createRoom()
    const answer = await alice.ask('POST', alice.room(room, 'invite'), { body: { user_id: 7 } })
    expect(answer).toMatchObject({ status: 400, body: { errcode: expect.any(String) } })
  })

  it('lifts no ban; unban does', async () => {
    const { alice, bob, room } = await joinedRoom()
    await alice.ban(room, bob.userId, { reason: 'spam' })
    expect(await alice.getState(room, 'm.room.member', bob.userId)).toMatchObject({
      membership: 'ban',
      reason: 'spam',
    })
    await alice.unban(room, bob.userId)
    expect(await alice.getState(room, 'm.room.member', bob.userId)).toMatchObject({
      membership: 'leave',
    })
    await bob.join(room)
  })
})

describe('leaving', () => {
  it('is shown to both sides', async () => {
    const { alice, bob, room } = await joinedRoom()
    const [a, b] = await Promise.all([alice.sync(), bob.sync()])
    await bob.leave(room, { reason: 'bye' })
    const seen = await alice.syncUntil(
      inTimeline(
        room,
        ({ state_key, content }) => state_key === bob.userId && content['membership'] === 'leave',
      ),
      { since: a.next_batch },
    )
    expect(JSON.stringify(seen)).toContain('"reason":"bye"')
    await bob.syncUntil(inSection('leave', room), { since: b.next_batch })
  })

  it('ends the right to send and to see what comes after', async () => {
    const { alice, bob, room } = await joinedRoom()
    await bob.leave(room)
    await expect(bob.sendText(room, 'still here')).rejects.toMatchObject(forbidden)
    const secret = await alice.sendText(room, 'after bob')
    expect((await bob.ask('GET', bob.room(room, 'event', secret))).status).toBe(404)
    const { chunk } = await bob.messages(room)
    expect(chunk.map(({ event_id }) => event_id)).not.toContain(secret)
  })

  it('a room one is not in is refused', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({ preset: 'public_chat' })
    const answer = await bob.ask('POST', bob.room(room, 'leave'), { body: {} })
    expect([403, 404]).toContain(answer.status)
  })

  it('by a kick needs a higher level than the kicked', async () => {
    const { alice, bob, room } = await joinedRoom()
    await expect(bob.kick(room, alice.userId)).rejects.toMatchObject(forbidden)
    await alice.kick(room, bob.userId, { reason: 'behave' })
    expect(await alice.getState(room, 'm.room.member', bob.userId)).toMatchObject({
      membership: 'leave',
      reason: 'behave',
    })
    await expect(bob.sendText(room, 'hi')).rejects.toMatchObject(forbidden)
  })

  it('cannot be forced on those who are not there', async () => {
    const { alice, bob, room } = await joinedRoom()
    const carol = await register(server)
    await expect(alice.kick(room, carol.userId)).rejects.toMatchObject({ status: 403 })
    await bob.leave(room)
    await expect(alice.kick(room, bob.userId)).rejects.toMatchObject({ status: 403 })
  })

  it('by a ban is refused from those who are not in the room', async () => {
    const { alice, bob, carol } = await threeUsers()
    const room = await alice.createRoom({ preset: 'public_chat' })
    await expect(bob.ban(room, carol.userId)).rejects.toMatchObject({ status: 403 })
    await bob.join(room)
    await expect(bob.ban(room, carol.userId)).rejects.toMatchObject(forbidden)
    await alice.ban(room, carol.userId)
    await expect(carol.join(room)).rejects.toMatchObject({ status: 403 })
  })
})

describe('forgetting', () => {
  it('is refused while one is in the room', async () => {
    const { bob, room } = await joinedRoom()
    expect(await bob.ask('POST', bob.room(room, 'forget'), { body: {} })).toMatchObject({
      status: 400,
      body: { errcode: 'M_UNKNOWN' },
    })
  })

  it('hides the room and its history', async () => {
    const { alice, bob, room } = await joinedRoom()
    await alice.sendText(room, 'something')
    await bob.leave(room)
    await bob.forget(room)
    expect((await bob.ask('GET', bob.room(room, 'messages'), { query: { dir: 'b' } })).status).toBe(
      403,
    )
    const answer = await bob.sync({ filter: { room: { include_leave: true } } })
    expect(answer.rooms.leave[room]).toBeUndefined()
  })

  it('lets one join again and see it', async () => {
    const { alice, bob, room } = await joinedRoom()
    const old = await alice.sendText(room, 'before')
    await bob.leave(room)
    await bob.forget(room)
    await bob.join(room)
    const { chunk } = await bob.messages(room)
    expect(chunk.map(({ event_id }) => event_id)).toContain(old)
  })
})

describe('the members of a room', () => {
  it('are listed, and filtered by membership', async () => {
    const { alice, bob, room } = await joinedRoom()
    const carol = await register(server)
    await alice.invite(room, carol.userId)
    await bob.leave(room)
    const members = async (query: Record<string, string>) => {
      const { chunk } = await alice.call('GET', alice.room(room, 'members'), { query })
      return Array.isArray(chunk)
        ? chunk.map((event: { state_key: string }) => event.state_key).sort()
        : []
    }
    expect(await members({})).toEqual([alice.userId, bob.userId, carol.userId].sort())
    expect(await members({ membership: 'join' })).toEqual([alice.userId])
    expect(await members({ not_membership: 'leave' })).toEqual([alice.userId, carol.userId].sort())
  })

  it('at a point are those of then', async () => {
    const { alice, bob, room } = await joinedRoom()
    const { next_batch: at } = await alice.sync()
    await bob.leave(room)
    const { chunk } = await alice.call('GET', alice.room(room, 'members'), {
      query: { at, membership: 'join' },
    })
    expect(chunk).toContainEqual(expect.objectContaining({ state_key: bob.userId }))
  })

  it('are told to members only', async () => {
    const { room } = await joinedRoom()
    const stranger = await register(server)
    for (const where of ['members', 'joined_members', 'state']) {
      expect((await stranger.ask('GET', stranger.room(room, where))).status).toBe(403)
    }
  })

  it('with profile are in joined_members', async () => {
    const { alice, bob, room } = await joinedRoom()
    await bob.call('PUT', `${path(`${v3}/profile`, bob.userId)}/displayname`, {
      body: { displayname: 'Bobby' },
    })
    await alice.syncUntil((answer) => JSON.stringify(answer).includes('Bobby'))
    const { joined } = await alice.call('GET', alice.room(room, 'joined_members'))
    expect(joined).toMatchObject({ [bob.userId]: { display_name: 'Bobby' } })
  })

  it('know which rooms they are in', async () => {
    const { bob, room } = await joinedRoom()
    const other = await bob.createRoom()
    const { joined_rooms: rooms } = await bob.call('GET', `${v3}/joined_rooms`)
    expect(rooms).toEqual(expect.arrayContaining([room, other]))
    expect(rooms).toHaveLength(2)
    await bob.leave(other)
    expect(await bob.call('GET', `${v3}/joined_rooms`)).toEqual({ joined_rooms: [room] })
  })
})
