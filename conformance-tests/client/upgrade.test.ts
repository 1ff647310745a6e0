import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type Client, eventually, inSection, register, unique } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { server } from '../harness/fixtures.ts'
import { type Body, path } from '../harness/http.ts'

const upgradeAnswer = z.object({ replacement_room: z.string().startsWith('!') })

async function upgrade(client: Client, room: string, version: string, more: Body = {}) {
  const body = { new_version: version, ...more }
  return upgradeAnswer.parse(await client.call('POST', client.room(room, 'upgrade'), { body }))
    .replacement_room
}

const stateOf = (client: Client, room: string, type: string, key = '') =>
  client.getState(room, type, key).catch(() => undefined)

describe.each([
  ['10', '11'],
  ['10', '12'],
  ['11', '12'],
  ['12', '12'],
])('a room of version %s that is replaced by one of version %s', (from, to) => {
  async function replaced(options: Body = {}) {
    const alice = await register(server, 'alice')
    const old = await alice.createRoom({ preset: 'public_chat', room_version: from, ...options })
    return { alice, old, next: await upgrade(alice, old, to) }
  }

  it('names its successor, which names it', async () => {
    const { alice, old, next } = await replaced({ creation_content: { type: 'm.space' } })
    const tombstone = await alice.getState(old, 'm.room.tombstone')
    expect(tombstone).toMatchObject({ body: expect.any(String), replacement_room: next })
    const create = await alice.getState(next, 'm.room.create')
    expect(create).toMatchObject({
      room_version: to,
      type: 'm.space',
      predecessor: { room_id: old },
    })
    const { event_id: lastId } = Object(create['predecessor'])
    if (to === '12') expect(lastId).toBeUndefined()
    else expect(lastId).toMatch(/^\$/)
    const all = await alice.allState(next)
    const [first] = all.filter(({ type }) => type === 'm.room.create')
    if (to === '12') expect(next).toBe(`!${first?.event_id.slice(1)}`)
  })

  it('hands on what it is, and whom it has banned, but not its members', async () => {
    const [alice, bob] = await Promise.all([register(server, 'alice'), register(server, 'bob')])
    const eve = await register(server, 'eve')
    const state = {
      'm.room.join_rules': { join_rule: 'knock' },
      'm.room.history_visibility': { history_visibility: 'joined' },
      'm.room.guest_access': { guest_access: 'forbidden' },
      'm.room.encryption': { algorithm: 'm.megolm.v1.aes-sha2' },
      'm.room.server_acl': { allow: ['*'], deny: ['evil.example'], allow_ip_literals: true },
      'm.room.name': { name: 'The room' },
      'm.room.topic': { topic: 'Its topic' },
      'm.room.avatar': { url: 'mxc://example.org/room' },
    }
    const initial = Object.entries(state).map(([type, content]) => ({ type, content }))
    const old = await alice.createRoom({ room_version: from, initial_state: initial })
    await alice.setState(old, 'org.example.custom', '', { kept: false })
    await alice.invite(old, bob.userId)
    await bob.join(old)
    await alice.ban(old, eve.userId, { reason: 'mischief' })
    const next = await upgrade(alice, old, to)
    for (const [type, content] of Object.entries(state)) {
      expect(await stateOf(alice, next, type)).toEqual(content)
    }
    expect(await stateOf(alice, next, 'org.example.custom')).toBeUndefined()
    expect(await stateOf(alice, next, 'm.room.member', bob.userId)).toBeUndefined()
    expect(await stateOf(alice, next, 'm.room.member', eve.userId)).toMatchObject({
      membership: 'ban',
      reason: 'mischief',
    })
  })

  it('hands on its aliases and its place in the directory', async () => {
    const name = unique('alias')
    const alias = `#${name}:${server.name}`
    const { alice, old, next } = await replaced({ room_alias_name: name, visibility: 'public' })
    const where = path('/_matrix/client/v3/directory/room', alias)
    expect(await alice.call('GET', where)).toMatchObject({ room_id: next })
    expect(await stateOf(alice, next, 'm.room.canonical_alias')).toEqual({ alias })
    expect(await stateOf(alice, old, 'm.room.canonical_alias')).not.toHaveProperty('alias')
    const listed = (room: string) =>
      alice.call('GET', path('/_matrix/client/v3/directory/list/room', room))
    expect(await listed(next)).toEqual({ visibility: 'public' })
    expect(await listed(old)).toEqual({ visibility: 'private' })
  })

  it('falls silent', async () => {
    const { alice, old } = await replaced()
    expect(await alice.getState(old, 'm.room.power_levels')).toMatchObject({
      events_default: 50,
      invite: 50,
    })
  })

  it('keeps the rooms that it has as a space', async () => {
    const alice = await register(server, 'alice')
    const [inside, outside] = [await alice.createRoom(), await alice.createRoom()]
    const creation = { type: 'm.space' }
    const old = await alice.createRoom({ room_version: from, creation_content: creation })
    await alice.setState(old, 'm.space.child', inside, { via: [server.name] })
    await alice.setState(old, 'm.space.child', outside, {})
    const next = await upgrade(alice, old, to)
    expect(await stateOf(alice, next, 'm.space.child', inside)).toEqual({ via: [server.name] })
    expect(await stateOf(alice, next, 'm.space.child', outside)).toBeUndefined()
  })

  it('gives members what they had set for it, when they come into the new one', async () => {
    const [alice, bob] = await Promise.all([register(server, 'alice'), register(server, 'bob')])
    const old = await alice.createRoom({ preset: 'public_chat', room_version: from })
    await bob.join(old)
    const people = [alice, bob]
    const actions = ['dont_notify']
    for (const one of people) {
      const rule = path('/_matrix/client/v3/pushrules/global/room', old)
      await one.call('PUT', rule, { body: { actions } })
      const tag = path('/_matrix/client/v3/user', one.userId, 'rooms', old, 'tags', 'm.favourite')
      await one.call('PUT', tag, { body: { order: 0.5 } })
      await one.call('PUT', one.dataPath('m.direct'), { body: { '@x:example.org': [old] } })
    }
    const next = await upgrade(alice, old, to)
    await bob.join(next)
    for (const one of people) {
      await eventually(
        () => one.call('GET', path('/_matrix/client/v3/pushrules/global/room', next)),
        (rule) => JSON.stringify(rule['actions']) === JSON.stringify(actions),
      )
      const tags = path('/_matrix/client/v3/user', one.userId, 'rooms', next, 'tags')
      expect(await one.call('GET', tags)).toEqual({ tags: { 'm.favourite': { order: 0.5 } } })
      expect(await one.call('GET', one.dataPath('m.direct'))).toEqual({
        '@x:example.org': [old, next],
      })
    }
  })
})

describe('a room that is replaced by hand', () => {
  itSynapseBreaks(
    'When a user joins the new room, the server should automatically transfer/replicate some of the user’s personalized settings such as notifications, tags, etc.',
  )('gives its members what they had set for it, when they come into the new one', async () => {
    const [alice, bob] = await Promise.all([register(server, 'alice'), register(server, 'bob')])
    const old = await alice.createRoom({ preset: 'public_chat', room_version: '10' })
    await bob.join(old)
    for (const one of [alice, bob]) {
      const rule = path('/_matrix/client/v3/pushrules/global/room', old)
      await one.call('PUT', rule, { body: { actions: ['dont_notify'] } })
    }
    const next = await alice.createRoom({
      preset: 'public_chat',
      room_version: '11',
      creation_content: { predecessor: { room_id: old } },
    })
    await alice.setState(old, 'm.room.tombstone', '', {
      body: 'replaced',
      replacement_room: next,
    })
    await bob.join(next)
    await bob.syncUntil(inSection('join', next))
    for (const one of [alice, bob]) {
      await eventually(
        () => one.call('GET', path('/_matrix/client/v3/pushrules/global/room', next)),
        (rule) => JSON.stringify(rule['actions']) === '["dont_notify"]',
      )
    }
  })
})

it('gives no level to the creator of a room of version 12', async () => {
  const alice = await register(server, 'alice')
  const answer = await alice.ask('POST', '/_matrix/client/v3/createRoom', {
    body: {
      room_version: '12',
      power_level_content_override: { users: { [alice.userId]: 100 } },
    },
  })
  expect(answer.status).toBe(400)
})

describe('upgrading a room', () => {
  it('is for those who may send a tombstone', async () => {
    const [alice, bob] = await Promise.all([register(server, 'alice'), register(server, 'bob')])
    const room = await alice.createRoom({ preset: 'public_chat', room_version: '11' })
    const body = { new_version: '12' }
    expect((await bob.ask('POST', bob.room(room, 'upgrade'), { body })).status).toBe(403)
    await bob.join(room)
    const answer = await bob.ask('POST', bob.room(room, 'upgrade'), { body })
    expect(answer).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
    expect(await stateOf(alice, room, 'm.room.tombstone')).toBeUndefined()
  })

  it('to an unknown version is refused', async () => {
    const alice = await register(server, 'alice')
    const room = await alice.createRoom()
    const body = { new_version: 'my-bad-version' }
    expect(await alice.ask('POST', alice.room(room, 'upgrade'), { body })).toMatchObject({
      status: 400,
      body: { errcode: 'M_UNSUPPORTED_ROOM_VERSION' },
    })
  })

  it('without a version is refused', async () => {
    const alice = await register(server, 'alice')
    const room = await alice.createRoom()
    const answer = await alice.ask('POST', alice.room(room, 'upgrade'), { body: {} })
    expect(answer.status).toBe(400)
  })

  const moderator = 'moderator'
  const admin = 'admin'
  it.each([
    ['an admin to 12', { from: '11', users: { admin: 100 }, by: admin, left: {} }],
    [
      'an admin to 12, who keeps the moderators',
      { from: '11', users: { admin: 100, moderator: 50 }, by: admin, left: { moderator: 50 } },
    ],
    [
      'an admin of 12, who makes the moderator a creator',
      { from: '12', users: { admin: 150, moderator: 50 }, by: admin, more: [moderator], left: {} },
    ],
    [
      'the creator to 12, who makes the admin one',
      {
        ...{ from: '11', users: { creator: 100, admin: 100, moderator: 50 } },
        ...{ by: 'creator', more: [admin], left: { moderator: 50 } },
      },
    ],
  ] as const)(
    'by %s leaves no level to creators',
    async (_, { from, users, by, left, ...rest }) => {
      const names = ['creator', admin, moderator] as const
      const all = new Map<string, Client>()
      for (const name of names) all.set(name, await register(server, name))
      const get = (name: string): Client => {
        const client = all.get(name)
        if (!client) throw new Error(name)
        return client
      }
      const named = (levels: Readonly<Record<string, number>>) =>
        Object.fromEntries(Object.entries(levels).map(([name, level]) => [get(name).userId, level]))
      const creator = get('creator')
      const room = await creator.createRoom({ preset: 'public_chat', room_version: from })
      for (const name of [admin, moderator]) await get(name).join(room)
      await creator.setState(room, 'm.room.power_levels', '', { users: named(users) })
      const more = 'more' in rest ? rest.more.map((name) => get(name).userId) : undefined
      const who = get(by)
      const next = await upgrade(who, room, '12', more ? { additional_creators: more } : {})
      const create = await who.getState(next, 'm.room.create')
      expect(create['additional_creators']).toEqual(more)
      expect((await who.getState(next, 'm.room.power_levels'))['users']).toEqual(named(left))
    },
  )

  it('by somebody whose level is below what its state needs, leaves that level as it was', async () => {
    const [alice, bob] = await Promise.all([register(server, 'alice'), register(server, 'bob')])
    const room = await alice.createRoom({ preset: 'public_chat', room_version: '10' })
    await bob.join(room)
    await alice.setState(room, 'm.room.server_acl', '', { allow: ['*'] })
    const levels = await alice.getState(room, 'm.room.power_levels')
    const events = { ...Object(levels['events']), 'm.room.tombstone': 50 }
    const users = { [alice.userId]: 100, [bob.userId]: 50 }
    await alice.setState(room, 'm.room.power_levels', '', { ...levels, events, users })
    const next = await upgrade(bob, room, '11')
    expect(await bob.getState(next, 'm.room.server_acl')).toEqual({ allow: ['*'] })
    expect((await bob.getState(next, 'm.room.power_levels'))['users']).toEqual(users)
  })
})
