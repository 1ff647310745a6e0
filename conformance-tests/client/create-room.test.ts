import { describe, expect, it } from 'vitest'
import { inSection, inTimeline, register, unique } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { type Body, path } from '../harness/http.ts'

const v3 = '/_matrix/client/v3'

async function created(options: Body) {
  const alice = await register(server, 'alice')
  const room = await alice.createRoom(options)
  return { alice, room }
}

describe('a new room', () => {
  it.each([
    ['private_chat', 'invite', 'shared', 'can_join'],
    ['trusted_private_chat', 'invite', 'shared', 'can_join'],
    ['public_chat', 'public', 'shared', 'forbidden'],
  ])(
    'of the preset %s has its join rule, history and guest access',
    async (preset, rule, history, guests) => {
      const { alice, room } = await created({ preset })
      expect(await alice.getState(room, 'm.room.join_rules')).toMatchObject({ join_rule: rule })
      expect(await alice.getState(room, 'm.room.history_visibility')).toEqual({
        history_visibility: history,
      })
      const access = await alice.ask('GET', alice.room(room, 'state', 'm.room.guest_access', ''))
      expect(access.body['guest_access'] ?? 'forbidden').toBe(guests)
    },
  )

  it.each([
    ['public', 'public'],
    ['private', 'invite'],
  ])('that is %s and has no preset takes the join rule of one', async (visibility, rule) => {
    const { alice, room } = await created({ visibility })
    expect(await alice.getState(room, 'm.room.join_rules')).toMatchObject({ join_rule: rule })
  })

  it('has its creator, joined and with level 100', async () => {
    const { alice, room } = await created({ room_version: '11' })
    const state = await alice.allState(room)
    const create = state.find(({ type }) => type === 'm.room.create')
    expect(create).toMatchObject({
      sender: alice.userId,
      content: { room_version: '11' },
      state_key: '',
    })
    expect(create?.content['creator']).toBeUndefined()
    expect(await alice.getState(room, 'm.room.member', alice.userId)).toMatchObject({
      membership: 'join',
    })
    expect(await alice.getState(room, 'm.room.power_levels')).toMatchObject({
      users: { [alice.userId]: 100 },
    })
  })

  it('names its creator in versions before 11', async () => {
    const { alice, room } = await created({ room_version: '10' })
    expect(await alice.getState(room, 'm.room.create')).toMatchObject({
      creator: alice.userId,
      room_version: '10',
    })
  })

  it.each(['1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12'])(
    'can be of version %s, if the server has it',
    async (version) => {
      const alice = await register(server)
      const { capabilities } = await alice.call('GET', `${v3}/capabilities`)
      const offered = JSON.stringify(capabilities).includes(`"${version}":`)
      const answer = await alice.ask('POST', `${v3}/createRoom`, {
        body: { room_version: version },
      })
      if (!offered) {
        expect(answer).toMatchObject({
          status: 400,
          body: { errcode: 'M_UNSUPPORTED_ROOM_VERSION' },
        })
        return
      }
      const room = String(answer.body['room_id'])
      const { room_version: actual } = await alice.getState(room, 'm.room.create')
      expect(actual ?? '1').toBe(version)
      await alice.sendText(room, 'hello')
    },
  )

  it('is refused when its version is unknown', async () => {
    const alice = await register(server)
    expect(
      await alice.ask('POST', `${v3}/createRoom`, {
        body: { room_version: 'ahfgwjyerhgiuveisbruvybseyrugvi' },
      }),
    ).toMatchObject({ status: 400, body: { errcode: 'M_UNSUPPORTED_ROOM_VERSION' } })
  })

  it('is refused when the version is no string', async () => {
    const alice = await register(server)
    const answer = await alice.ask('POST', `${v3}/createRoom`, { body: { room_version: 1 } })
    expect(answer).toMatchObject({
      status: 400,
      body: { errcode: expect.stringMatching(/^M_(BAD_JSON|INVALID_PARAM)$/) },
    })
  })

  it('takes a name, a topic and initial state', async () => {
    const { alice, room } = await created({
      name: 'Test room',
      topic: 'of tests',
      initial_state: [
        { type: 'm.room.history_visibility', content: { history_visibility: 'invited' } },
        { type: 'org.example.thing', state_key: 'k', content: { a: 1 } },
      ],
    })
    expect(await alice.getState(room, 'm.room.name')).toEqual({ name: 'Test room' })
    expect(await alice.getState(room, 'm.room.topic')).toMatchObject({ topic: 'of tests' })
    expect(await alice.getState(room, 'm.room.history_visibility')).toEqual({
      history_visibility: 'invited',
    })
    expect(await alice.getState(room, 'org.example.thing', 'k')).toEqual({ a: 1 })
  })

  it('writes the topic as rich text too', async () => {
    const { alice, room } = await created({ topic: 'of tests' })
    expect(await alice.getState(room, 'm.room.topic')).toMatchObject({
      'm.topic': {
        'm.text': expect.arrayContaining([expect.objectContaining({ body: 'of tests' })]),
      },
    })
  })

  it('takes content of its create event, but not another creator', async () => {
    const { alice, room } = await created({
      room_version: '10',
      creation_content: { 'm.federate': false, creator: '@somebody:else', type: 'm.space' },
    })
    expect(await alice.getState(room, 'm.room.create')).toMatchObject({
      'm.federate': false,
      type: 'm.space',
      creator: alice.userId,
    })
  })

  it('takes an override of the power levels', async () => {
    const { alice, room } = await created({
      power_level_content_override: { events_default: 50, invite: 77 },
    })
    expect(await alice.getState(room, 'm.room.power_levels')).toMatchObject({
      events_default: 50,
      invite: 77,
    })
  })

  it('takes an alias', async () => {
    const name = unique('alias')
    const { alice, room } = await created({ room_alias_name: name })
    const alias = `#${name}:${server.name}`
    const answer = await alice.call('GET', path(`${v3}/directory/room`, alias))
    expect(answer).toMatchObject({ room_id: room, servers: [server.name] })
    expect(await alice.getState(room, 'm.room.canonical_alias')).toMatchObject({ alias })
  })

  it('is refused when its alias is taken', async () => {
    const name = unique('alias')
    const { alice } = await created({ room_alias_name: name })
    expect(
      await alice.ask('POST', `${v3}/createRoom`, { body: { room_alias_name: name } }),
    ).toMatchObject({
      status: 400,
      body: { errcode: 'M_ROOM_IN_USE' },
    })
  })

  it('invites the users it is made for, as direct chat when said so', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({ invite: [bob.userId], is_direct: true })
    const answer = await bob.syncUntil(inSection('invite', room))
    const { events } = answer.rooms.invite[room]?.invite_state ?? { events: [] }
    const mine = events.find(
      ({ type, state_key }) => type === 'm.room.member' && state_key === bob.userId,
    )
    expect(mine?.content).toMatchObject({ membership: 'invite', is_direct: true })
    expect(events.map(({ type }) => type)).toEqual(
      expect.arrayContaining(['m.room.create', 'm.room.join_rules']),
    )
  })

  it('gives the invited the creator’s level in a trusted private chat', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({
      preset: 'trusted_private_chat',
      invite: [bob.userId],
      room_version: '11',
    })
    expect(await alice.getState(room, 'm.room.power_levels')).toMatchObject({
      users: { [alice.userId]: 100, [bob.userId]: 100 },
    })
  })

  it.each([
    ['a list as body', []],
    ['a number as name', { name: 1 }],
    ['a string as invite list', { invite: 'x' }],
  ])('is refused with %s', async (_, body) => {
    const alice = await register(server)
    const answer = await alice.ask('POST', `${v3}/createRoom`, { body })
    expect(answer.status).toBe(400)
    expect(answer.body['errcode']).toMatch(/^M_/)
  })

  itSynapseBreaks(
    'M_BAD_JSON: Request contained valid JSON, but it was malformed in some way, e.g. missing required keys, invalid values for keys.',
  ).each([
    ['a string as creation content', { creation_content: 'x' }],
    ['a string as initial state', { initial_state: 'x' }],
  ])('is refused, and breaks nothing, with %s', async (_, body) => {
    const alice = await register(server)
    const answer = await alice.ask('POST', `${v3}/createRoom`, { body })
    expect(answer).toMatchObject({ status: 400, body: { errcode: expect.any(String) } })
  })

  it('appears in the sync of its creator with the events in order', async () => {
    const { alice, room } = await created({ name: 'x', topic: 'y', preset: 'public_chat' })
    const answer = await alice.syncUntil(inSection('join', room))
    const shown = answer.rooms.join[room]
    const types = [...(shown?.state.events ?? []), ...(shown?.timeline.events ?? [])].map(
      ({ type }) => type,
    )
    expect(types[0]).toBe('m.room.create')
    expect(types[1]).toBe('m.room.member')
    expect(types[2]).toBe('m.room.power_levels')
    expect(types).toEqual(
      expect.arrayContaining(['m.room.name', 'm.room.topic', 'm.room.join_rules']),
    )
  })

  it('is reported by sync to the creator who was waiting', async () => {
    const alice = await register(server)
    const { next_batch: since } = await alice.sync()
    const waiting = alice.syncUntil((answer) => Object.keys(answer.rooms.join).length > 0, {
      since,
    })
    const room = await alice.createRoom()
    expect(Object.keys((await waiting).rooms.join)).toEqual([room])
  })
})

describe('a room of version 12', () => {
  it('has the hash of its create event as id, without a server', async () => {
    const { alice, room } = await created({ room_version: '12' })
    expect(room).toMatch(/^![A-Za-z0-9_-]{43}$/)
    const create = (await alice.allState(room)).find(({ type }) => type === 'm.room.create')
    expect(create?.event_id.slice(1)).toBe(room.slice(1))
  })

  it('does not list its creator in the power levels, and tombstones need 150', async () => {
    const { alice, room } = await created({ room_version: '12' })
    const levels = await alice.getState(room, 'm.room.power_levels')
    expect(levels['users'] ?? {}).not.toHaveProperty([alice.userId])
    expect(levels).toMatchObject({ events: { 'm.room.tombstone': 150 } })
    await alice.setState(room, 'm.room.name', '', { name: 'creators may' })
  })

  it('refuses to list a creator in the power levels', async () => {
    const { alice, room } = await created({ room_version: '12' })
    const levels = await alice.getState(room, 'm.room.power_levels')
    const answer = await alice.ask('PUT', alice.room(room, 'state', 'm.room.power_levels', ''), {
      body: { ...levels, users: { [alice.userId]: 100 } },
    })
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(answer.status).toBeLessThan(404)
  })

  it('makes the invited of a trusted private chat creators too', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({
      preset: 'trusted_private_chat',
      invite: [bob.userId],
      room_version: '12',
    })
    expect(await alice.getState(room, 'm.room.create')).toMatchObject({
      additional_creators: [bob.userId],
    })
    await bob.join(room)
    await bob.setState(room, 'm.room.name', '', { name: 'set by the other creator' })
  })

  it('refuses additional creators that are no user ids', async () => {
    const alice = await register(server)
    for (const wrong of ['not a list', [1], ['no-sigil'], ['@no-server']]) {
      const answer = await alice.ask('POST', `${v3}/createRoom`, {
        body: { room_version: '12', creation_content: { additional_creators: wrong } },
      })
      expect(answer.status).toBe(400)
    }
  })

  it('does not let a moderator act against a creator', async () => {
    const { alice, bob, room } = await joinedRoom({ room_version: '12' })
    const levels = await alice.getState(room, 'm.room.power_levels')
    await alice.setState(room, 'm.room.power_levels', '', {
      ...levels,
      users: { [bob.userId]: 9007199254740991 },
    })
    await expect(bob.kick(room, alice.userId)).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
    await alice.kick(room, bob.userId)
    await alice.syncUntil(inTimeline(room, ({ content }) => content['membership'] === 'leave'))
  })
})
