import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type Client, login, register, unique } from '../harness/client.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { ask, type Body, path } from '../harness/http.ts'
import { underTestIsSynapse } from '../harness/settings.ts'
import { bodiesOf, connect, keysOf, oneList, slidingPath } from '../harness/sliding.ts'

const v3 = '/_matrix/client/v3'

describe('sliding sync', () => {
  it('is named among the features', async () => {
    const { body } = await ask(server.clientUrl, 'GET', '/_matrix/client/versions')
    expect(body['unstable_features']).toHaveProperty(['org.matrix.simplified_msc3575'])
  })

  it('refuses what is no request', async () => {
    const alice = await register(server)
    const refused = async (body: object) => {
      const answer = await alice.ask('POST', slidingPath, { body: { ...body } })
      return answer.status
    }
    const room = { timeline_limit: 1, required_state: [] }
    expect(await refused({ lists: { a: { ...room, ranges: [[0]] } } })).toBe(400)
    expect(await refused({ lists: { a: { ...room, timeline_limit: 'ten' } } })).toBe(400)
    expect(await refused({ lists: { a: { ...room, required_state: [['m.room.name']] } } })).toBe(
      400,
    )
    expect(await refused({ lists: 'all' })).toBe(400)
    const many = Object.fromEntries(Array.from({ length: 101 }, (_, n) => [`l${n}`, room]))
    expect(await refused({ lists: many })).toBe(400)
    expect((await ask(server.clientUrl, 'POST', slidingPath, { body: {} })).status).toBe(401)
  })

  it('does not know a position of another device, or of another connection', async () => {
    const alice = await register(server)
    await alice.createRoom()
    const first = await connect(alice, 'one').ask(oneList())
    const other = await login(server, alice.userId)
    const [status, stranger] = await Promise.all(
      [alice, other].map((who) =>
        who.ask('POST', slidingPath, {
          query: { pos: first.pos },
          body: { conn_id: who === alice ? 'two' : 'one', ...oneList() },
        }),
      ),
    )
    expect(status?.body['errcode']).toBe('M_UNKNOWN_POS')
    expect(stranger?.body['errcode']).toBe('M_UNKNOWN_POS')
    expect(status?.status).toBe(400)
  })
})

describe('a list', () => {
  it('has the rooms in which something happened last first, in windows', async () => {
    const alice = await register(server)
    const rooms: string[] = []
    for (let n = 0; n < 4; n++) rooms.push(await alice.createRoom({ name: `${n}` }))
    const [first = '', , , last = ''] = rooms
    const connection = connect(alice)
    const top = await connection.ask(oneList({ ranges: [[0, 1]] }))
    expect(top.lists['all']?.count).toBe(4)
    expect(top.lists['all']?.ops[0]?.room_ids[0]).toBe(last)
    expect(Object.keys(top.rooms).sort()).toEqual(rooms.slice(2).sort())
    await alice.sendText(first, 'up')
    const next = await connection.until(
      oneList({ ranges: [[0, 1]] }),
      (answer) => first in answer.rooms,
    )
    expect(next.lists['all']?.ops[0]?.room_ids[0]).toBe(first)
    expect(next.rooms[first]).toMatchObject({ initial: true, num_live: 1 })
    const rest = await connection.ask(oneList({ ranges: [[0, 99]] }))
    expect(Object.keys(rest.rooms)).toEqual([rooms[1]])
  })

  it('has a room whole at first, and then what happens there, once', async () => {
    const { alice, bob, room } = await joinedRoom({ name: 'Kitchen' })
    for (let n = 0; n < 4; n++) await bob.sendText(room, `${n}`)
    const list = oneList({
      timeline_limit: 2,
      required_state: [
        ['m.room.create', ''],
        ['m.room.member', '$ME'],
      ],
    })
    const connection = connect(alice)
    const first = await connection.ask(list)
    expect(bodiesOf(first.rooms[room])).toEqual(['2', '3'])
    expect(keysOf(first.rooms[room])).toEqual(['m.room.create|', `m.room.member|${alice.userId}`])
    expect(first.rooms[room]).toMatchObject({
      ...{ name: 'Kitchen', initial: true, limited: true, num_live: 0, joined_count: 2 },
      invited_count: 0,
    })
    const before = first.rooms[room]?.prev_batch
    const { chunk } = await alice.messages(room, { from: before, limit: 1 })
    expect(chunk[0]?.content).toMatchObject({ body: '1' })
    await bob.sendText(room, 'news')
    const second = await connection.until(list, (answer) => room in answer.rooms)
    expect(bodiesOf(second.rooms[room])).toEqual(['news'])
    expect(second.rooms[room]).toMatchObject({ limited: false, num_live: 1 })
    expect(second.rooms[room]).not.toHaveProperty('initial')
    expect(second.rooms[room]).not.toHaveProperty('name')
    expect(keysOf(second.rooms[room])).toEqual([])
    expect((await connection.ask(list)).rooms).toEqual({})
    // Who did not get an answer asks again with the same position.
    const again = await connection.ask(list, { pos: first.pos })
    expect(bodiesOf(again.rooms[room])).toEqual(['news'])
  })

  it('answers a request that waits as soon as something happens', async () => {
    const { alice, bob, room } = await joinedRoom()
    const connection = connect(alice)
    await connection.ask(oneList())
    // Whatever the joins still bring along.
    await connection.ask(oneList())
    const waiting = connection.ask(oneList(), { timeoutMs: 30_000 })
    await bob.sendText(room, 'at last')
    expect(bodiesOf((await waiting).rooms[room])).toEqual(['at last'])
  })

  it('is answered without rooms when the time is over', async () => {
    const alice = await register(server)
    const room = await alice.createRoom()
    const connection = connect(alice)
    expect(Object.keys((await connection.ask(oneList())).rooms)).toEqual([room])
    const answer = await connection.ask(oneList(), { timeoutMs: 200 })
    expect(answer.rooms).toEqual({})
    expect(answer.lists['all']?.count).toBe(1)
  })

  it('is filtered by what the rooms are', async () => {
    const alice = await register(server)
    const plain = await alice.createRoom({ name: 'Plain' })
    const secret = await alice.createRoom({
      initial_state: [
        {
          type: 'm.room.encryption',
          state_key: '',
          content: { algorithm: 'm.megolm.v1.aes-sha2' },
        },
      ],
    })
    const space = await alice.createRoom({ creation_content: { type: 'm.space' } })
    await alice.setState(space, 'm.space.child', plain, { via: [server.name] })
    await alice.call('PUT', alice.dataPath('m.direct'), { body: { [alice.userId]: [secret] } })
    const tag = path(`${v3}/user`, alice.userId, 'rooms', plain, 'tags', 'm.favourite')
    await alice.call('PUT', tag, { body: {} })
    const found = async (filters: object) => {
      const answer = await connect(alice).ask(oneList({ filters }))
      return answer.lists['all']?.ops[0]?.room_ids.toSorted()
    }
    expect(await found({ is_encrypted: true })).toEqual([secret])
    expect(await found({ is_encrypted: false })).toEqual([plain, space].sort())
    expect(await found({ is_dm: true })).toEqual([secret])
    expect(await found({ is_dm: false })).toEqual([plain, space].sort())
    expect(await found({ room_types: ['m.space'] })).toEqual([space])
    expect(await found({ not_room_types: ['m.space'] })).toEqual([plain, secret].sort())
    expect(await found({ room_types: [null] })).toEqual([plain, secret].sort())
    expect(await found({ room_types: ['m.space'], not_room_types: ['m.space'] })).toEqual([])
    expect(await found({ is_invite: true })).toEqual([])
    expect(await found({ tags: ['m.favourite'] })).toEqual([plain])
    expect(await found({ not_tags: ['m.favourite'] })).toEqual([secret, space].sort())
    expect(await found({ is_dm: false, room_types: [null] })).toEqual([plain])
  })
})

describe('state', () => {
  it('is what patterns ask for', async () => {
    const { alice, bob, room } = await joinedRoom()
    const wanted = async (...required: [string, string][]) => {
      const list = oneList({ timeline_limit: 0, required_state: required })
      return keysOf((await connect(alice).ask(list)).rooms[room])
    }
    expect(await wanted(['m.room.member', '*'])).toEqual(
      [alice, bob].map(({ userId }) => `m.room.member|${userId}`).sort(),
    )
    const every = await wanted(['*', '*'])
    expect(every).toContain('m.room.create|')
    expect(every).toContain(`m.room.member|${bob.userId}`)
    expect(await wanted(['*', bob.userId])).toContain(`m.room.member|${bob.userId}`)
    expect(await wanted(['m.room.topic', ''])).toEqual([])
  })

  it('has members as the timeline needs them, once', async () => {
    const { alice, bob, room } = await joinedRoom()
    const carol = await register(server, 'carol')
    await carol.join(room)
    const list = oneList({ timeline_limit: 1, required_state: [['m.room.member', '$LAZY']] })
    await bob.sendText(room, 'one')
    const connection = connect(alice)
    const keys = async () => {
      const answer = await connection.until(list, (one) => room in one.rooms)
      return keysOf(answer.rooms[room])
    }
    expect(await keys()).toEqual([`m.room.member|${bob.userId}`])
    await bob.sendText(room, 'two')
    expect(await keys()).toEqual([])
    await carol.sendText(room, 'three')
    expect(await keys()).toEqual([`m.room.member|${carol.userId}`])
  })

  it('is told when it changes', async () => {
    const { alice, room } = await joinedRoom()
    const list = oneList({ required_state: [['m.room.topic', '']] })
    const connection = connect(alice)
    await connection.ask(list)
    await alice.setState(room, 'm.room.topic', '', { topic: 'one' })
    await alice.setState(room, 'm.room.name', '', { name: 'Hall' })
    const answers = [await connection.until(list, (one) => room in one.rooms)]
    if (answers[0]?.rooms[room]?.name === undefined) {
      answers.push(await connection.until(list, (one) => one.rooms[room]?.name !== undefined))
    }
    expect(answers.flatMap((one) => keysOf(one.rooms[room]))).toEqual(['m.room.topic|'])
    expect(answers.at(-1)?.rooms[room]?.name).toBe('Hall')
  })
})

describe('a subscription', () => {
  it('has a room beyond the windows, and more of its timeline at once', async () => {
    const { alice, bob, room } = await joinedRoom()
    for (let n = 0; n < 5; n++) await bob.sendText(room, `${n}`)
    const list = oneList({ timeline_limit: 1 })
    const connection = connect(alice)
    const first = await connection.ask(list)
    expect(bodiesOf(first.rooms[room])).toEqual(['4'])
    const open = {
      ...list,
      room_subscriptions: {
        [room]: { timeline_limit: 4, required_state: [['m.room.create', '']] },
      },
    }
    const second = await connection.ask(open, { timeoutMs: 10_000 })
    expect(bodiesOf(second.rooms[room])).toEqual(['1', '2', '3', '4'])
    expect(second.rooms[room]).toMatchObject({ unstable_expanded_timeline: true, num_live: 0 })
    expect(second.rooms[room]).not.toHaveProperty('initial')
    expect((await connection.ask(open)).rooms).toEqual({})
    const only = await connect(alice).ask({ room_subscriptions: open.room_subscriptions })
    expect(keysOf(only.rooms[room])).toEqual(['m.room.create|'])
  })

  it('shows nothing of a room that one is not in', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({ preset: 'public_chat' })
    await alice.sendText(room, 'for members')
    const rule = { timeline_limit: 5, required_state: [['*', '*']] }
    const rooms = { [room]: rule, [`!${unique('nowhere')}:${server.name}`]: rule }
    expect((await connect(bob).ask({ room_subscriptions: rooms })).rooms).toEqual({})
  })

  it('shows nothing new to whoever was banned', async () => {
    const { alice, bob, room } = await joinedRoom()
    const rule = { timeline_limit: 20, required_state: [['*', '*']] }
    const asked = { room_subscriptions: { [room]: rule } }
    const connection = connect(bob)
    await connection.ask(asked)
    await alice.ban(room, bob.userId)
    await alice.sendText(room, 'behind their back')
    await alice.setState(room, 'm.room.topic', '', { topic: 'behind' })
    const told = await connection.until(asked, (answer) => room in answer.rooms)
    const fresh = await connect(bob).ask(asked)
    expect(told.rooms[room]?.timeline.at(-1)?.content).toMatchObject({ membership: 'ban' })
    expect(JSON.stringify([told, fresh, await connection.ask(asked)])).not.toContain('behind')
  })
})

describe('memberships', () => {
  it('begin with an invite, which shows what the room is', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const connection = connect(bob)
    await connection.ask(oneList())
    const room = await alice.createRoom({ name: 'Parlour' })
    await alice.invite(room, bob.userId)
    const list = oneList({ required_state: [['m.room.member', '$ME']] })
    const invited = await connection.until(list, (answer) => room in answer.rooms)
    const types = invited.rooms[room]?.invite_state?.map(({ type }) => type)
    expect(types).toEqual(expect.arrayContaining(['m.room.create', 'm.room.name', 'm.room.member']))
    expect(invited.rooms[room]?.timeline).toEqual([])
    const invites = await connect(bob).ask(oneList({ filters: { is_invite: true } }))
    expect(invites.lists['all']?.count).toBe(1)
    await bob.join(room)
    const joined = await connection.until(
      list,
      (answer) => answer.rooms[room]?.joined_count !== undefined,
    )
    expect(joined.rooms[room]).toMatchObject({ initial: true, joined_count: 2 })
    expect(keysOf(joined.rooms[room])).toEqual([`m.room.member|${bob.userId}`])
  })

  it('end with a leave that is told once', async () => {
    const { alice, bob, room } = await joinedRoom()
    const list = oneList({ required_state: [['m.room.member', '$ME']] })
    const connection = connect(bob)
    await connection.ask(list)
    await bob.leave(room)
    await alice.sendText(room, 'gone')
    const left = await connection.until(list, (answer) => room in answer.rooms)
    expect(left.rooms[room]?.timeline.at(-1)?.content).toMatchObject({ membership: 'leave' })
    expect(bodiesOf(left.rooms[room])).toEqual([])
    expect((await connection.ask(list)).rooms).toEqual({})
    expect((await connect(bob).ask(list)).rooms).toEqual({})
    await bob.join(room)
    const again = await connection.until(list, (answer) => room in answer.rooms)
    expect(again.rooms[room]).toMatchObject({ initial: true, joined_count: 2 })
  })

  it('that somebody else ended are told, also at first', async () => {
    const { alice, bob, room } = await joinedRoom()
    await alice.kick(room, bob.userId)
    await alice.sendText(room, 'gone')
    const answer = await connect(bob).ask(oneList())
    expect(Object.keys(answer.rooms)).toEqual([room])
    expect(answer.rooms[room]?.timeline.at(-1)?.content).toMatchObject({ membership: 'leave' })
  })
})

/** The proposal as it was accepted, which Synapse does not serve. */
describe.skipIf(underTestIsSynapse)('POST /v4/sync', () => {
  const ask = async (who: Client, body: object) =>
    await who.ask('POST', '/_matrix/client/v4/sync', { body: { ...body } })

  it('has its parameters in the body, and says more of rooms', async () => {
    const { alice, bob, room } = await joinedRoom({ name: 'Kitchen' })
    const members = [{ type: 'm.room.member', state_key: alice.userId }]
    const rule = (include: object[], more: object = {}) => ({
      timeline_limit: 1,
      required_state: { include, ...more },
    })
    const lists = { all: { ...rule([{}], { lazy_members: true }), range: [0, 9] } }
    const first = await ask(alice, { lists })
    expect(first.body['lists']).toEqual({ all: { count: 1 } })
    const entry = roomsIn(first.body)[room]
    expect(entry).toMatchObject({
      ...{ membership: 'join', lists: ['all'], initial: true, name: 'Kitchen', limited: true },
      joined_count: 2,
    })
    expect(entry).not.toHaveProperty('notification_count')
    const keys = (of: { required_state?: unknown } | undefined) =>
      JSON.stringify(of?.required_state ?? [])
    expect(keys(entry)).toContain('m.room.create')
    expect(keys(entry)).not.toContain(`"state_key":"${alice.userId}"`)
    // Its position is also one in the history.
    const { chunk } = await alice.messages(room, { from: String(first.body['pos']) })
    expect(chunk.length).toBeGreaterThan(0)

    const pos = first.body['pos']
    const waiting = ask(alice, { lists, pos, timeout: 20_000 })
    await alice.setState(room, 'm.room.name', '', {})
    const second = await waiting
    expect(roomsIn(second.body)[room]).toMatchObject({
      name: null,
      heroes: [{ user_id: bob.userId }],
    })
    const narrow = { all: { ...rule([{}], { exclude: [{ type: 'm.room.create' }] }) } }
    const other = await ask(alice, { conn_id: 'x', lists: narrow })
    expect(keys(roomsIn(other.body)[room])).not.toContain('m.room.create"')
    expect(keys(roomsIn(other.body)[room])).toContain('m.room.member')
    const named = { all: rule(members) }
    const last = await ask(alice, { conn_id: 'y', lists: named })
    expect(roomsIn(last.body)[room]?.['required_state']).toHaveLength(1)
  })

  it('writes what somebody invited may see as stripped state', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({ name: 'Parlour', invite: [bob.userId] })
    const list = { timeline_limit: 1, required_state: {}, filters: { is_invited: true } }
    const answer = await ask(bob, { lists: { invites: list } })
    const entry = roomsIn(answer.body)[room]
    expect(entry).toMatchObject({ membership: 'invite', lists: ['invites'] })
    expect(JSON.stringify(entry?.['stripped_state'])).toContain('Parlour')
  })

  it('refuses too much, and says what', async () => {
    const alice = await register(server)
    const rule = { timeline_limit: 1, required_state: {} }
    const many = (prefix: string) =>
      Object.fromEntries(Array.from({ length: 101 }, (_, n) => [`${prefix}${n}`, rule]))
    for (const [field, value] of [
      ['lists', many('l')],
      ['room_subscriptions', many('!r')],
      ['set_presence', 'asleep'],
    ] as const) {
      const { status, body } = await ask(alice, { [field]: value })
      expect(status).toBe(400)
      expect(body['errcode']).toBe('M_INVALID_PARAM')
      expect(body['error']).toContain(field)
    }
    const unknown = await ask(alice, { pos: 'nowhere' })
    expect(unknown.body['errcode']).toBe('M_UNKNOWN_POS')
  })
})

function roomsIn(body: Body): Record<string, Record<string, unknown>> {
  return z.record(z.string(), z.record(z.string(), z.unknown())).parse(body['rooms'])
}
