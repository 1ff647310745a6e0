import { describe, expect, it } from 'vitest'
import { type Client, register } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { type Body, isBody, path, type RequestOptions } from '../harness/http.ts'

const v1 = '/_matrix/client/v1'
const open: Body = { preset: 'public_chat' }
const closed: Body = { preset: 'private_chat' }
const space = (options: Body): Body => ({ ...options, creation_content: { type: 'm.space' } })
const worldReadable = {
  type: 'm.room.history_visibility',
  content: { history_visibility: 'world_readable' },
}
const membersOf = (room: string): Body => ({
  ...open,
  initial_state: [
    {
      type: 'm.room.join_rules',
      content: {
        join_rule: 'restricted',
        allow: [{ type: 'm.room_membership', room_id: room, via: [server.name] }],
      },
    },
  ],
})

const list = (value: unknown): Body[] => (Array.isArray(value) ? value.filter(isBody) : [])

const link = (owner: Client, parent: string, child: string, more: Body = {}) =>
  owner.setState(parent, 'm.space.child', child, { via: [server.name], ...more })

async function walk(user: Client, room: string, query: RequestOptions['query'] = {}) {
  const answer = await user.call('GET', path(`${v1}/rooms`, room, 'hierarchy'), { query })
  const rooms = list(answer['rooms'])
  return {
    answer,
    ids: rooms.map(({ room_id: id }) => id),
    rooms: new Map(rooms.map((one) => [one['room_id'], one])),
    /** Children of each space, by the order of its links. */
    links: rooms
      .filter(({ room_type: type }) => type === 'm.space')
      .map(({ children_state: state }) => list(state).map(({ state_key: key }) => key)),
  }
}

/** A space with R1, a space SS1 (which has a space SS2 with R3 and R4) and R2; R4 and R5 are another user's. */
async function graph() {
  const [alice, bob] = await Promise.all([register(server, 'alice'), register(server, 'bob')])
  const root = await alice.createRoom(space({ ...open, name: 'Root' }))
  const r1 = await alice.createRoom({ ...open, name: 'R1' })
  const ss1 = await alice.createRoom(space({ ...open, name: 'Sub-Space 1', topic: 'Some topic' }))
  const r2 = await alice.createRoom({ ...open, name: 'R2' })
  const ss2 = await alice.createRoom(space({ ...open, name: 'SS2' }))
  const r3 = await alice.createRoom({ ...open, name: 'R3' })
  const r4 = await bob.createRoom({ ...open, name: 'R4', initial_state: [worldReadable] })
  const r5 = await bob.createRoom({ ...open, name: 'R5' })
  await link(alice, root, r1, { suggested: true })
  await link(alice, root, ss1)
  await link(alice, root, r2, { suggested: true })
  // Only spaces have children.
  await link(alice, r2, r5)
  await alice.setState(r2, 'm.space.parent', root, { via: [server.name] })
  await link(alice, ss1, ss2)
  await link(alice, ss2, r3)
  await link(alice, ss2, r4)
  return { alice, root, r1, ss1, r2, ss2, r3, r4 }
}

describe('a space', () => {
  it('shows the whole graph below it, depth first', async () => {
    const { alice, root, r1, ss1, r2, ss2, r3, r4 } = await graph()
    const { ids, rooms, links, answer } = await walk(alice, root)
    expect(ids).toEqual([root, r1, ss1, ss2, r3, r4, r2])
    expect(links).toEqual([[r1, ss1, r2], [ss2], [r3, r4]])
    expect(answer['next_batch']).toBeUndefined()
    expect(rooms.get(ss1)).toMatchObject({
      ...{ name: 'Sub-Space 1', topic: 'Some topic', room_type: 'm.space', join_rule: 'public' },
      ...{ num_joined_members: 1, world_readable: false, guest_can_join: false },
    })
    expect(rooms.get(r4)).toMatchObject({ name: 'R4', world_readable: true })
    expect(rooms.get(r2)?.['children_state']).toEqual([])
    const [event] = list(rooms.get(root)?.['children_state'])
    expect(event).toMatchObject({
      ...{ type: 'm.space.child', state_key: r1, sender: alice.userId },
      content: { via: [server.name], suggested: true },
      origin_server_ts: expect.any(Number),
    })
  })

  it('is shown only as deep as the client asks', async () => {
    const { alice, root, r1, ss1, r2, ss2 } = await graph()
    const { ids, links } = await walk(alice, root, { max_depth: 1 })
    expect(ids).toEqual([root, r1, ss1, r2])
    // All links are still there.
    expect(links).toEqual([[r1, ss1, r2], [ss2]])
  })

  it('is shown with what is suggested only', async () => {
    const { alice, root, r1, r2 } = await graph()
    const { ids, links } = await walk(alice, root, { suggested_only: true })
    expect(ids).toEqual([root, r1, r2])
    expect(links).toEqual([[r1, r2]])
  })

  it('is shown page by page', async () => {
    const { alice, root, r1, ss1, r2, ss2, r3, r4 } = await graph()
    const first = await walk(alice, root, { limit: 4 })
    expect(first.ids).toEqual([root, r1, ss1, ss2])
    const from = String(first.answer['next_batch'])
    const second = await walk(alice, root, { from })
    expect(second.ids).toEqual([r3, r4, r2])
    expect(second.answer['next_batch']).toBeUndefined()
    const refused = { status: 400, body: { errcode: 'M_INVALID_PARAM' } }
    const where = path(`${v1}/rooms`, root, 'hierarchy')
    for (const query of [
      { from: 'unknown' },
      { from, max_depth: 1 },
      { from, suggested_only: true },
    ]) {
      expect(await alice.ask('GET', where, { query })).toMatchObject(refused)
    }
  })

  it('loses a room when its link is emptied', async () => {
    const { alice, root, r1, ss1, r2 } = await graph()
    await alice.setState(root, 'm.space.child', ss1, {})
    const { ids, links } = await walk(alice, root)
    expect(ids).toEqual([root, r1, r2])
    expect(links).toEqual([[r1, r2]])
  })

  it('shows rooms by the order of their links, then by the time of the links', async () => {
    const alice = await register(server)
    const root = await alice.createRoom(space(open))
    const rooms: string[] = []
    for (const order of [undefined, 'b', undefined, 'a', 'ä']) {
      const room = await alice.createRoom(open)
      await link(alice, root, room, order === undefined ? {} : { order })
      rooms.push(room)
    }
    const [first, b, third, a, invalid] = rooms
    expect((await walk(alice, root)).ids).toEqual([root, a, b, first, third, invalid])
  })

  it('shows only rooms that the user is in, or is let into', async () => {
    const [alice, bob] = await Promise.all([register(server, 'alice'), register(server, 'bob')])
    const root = await alice.createRoom(space(open))
    const r1 = await alice.createRoom(closed)
    const ss1 = await alice.createRoom(space(closed))
    const r2 = await alice.createRoom({ ...open, initial_state: [worldReadable] })
    const r3 = await alice.createRoom(closed)
    await link(alice, root, r1)
    await link(alice, root, ss1)
    await link(alice, ss1, r2)
    await link(alice, ss1, r3)
    await bob.join(root)
    expect(await walk(bob, root)).toMatchObject({ ids: [root], links: [[r1, ss1]] })
    await alice.invite(r1, bob.userId)
    await alice.invite(r3, bob.userId)
    expect(await walk(bob, root)).toMatchObject({ ids: [root, r1], links: [[r1, ss1]] })
    await alice.invite(ss1, bob.userId)
    expect(await walk(bob, root)).toMatchObject({
      ids: [root, r1, ss1, r2, r3],
      links: [
        [r1, ss1],
        [r2, r3],
      ],
    })
  })

  it('shows rooms for its members to its members', async () => {
    const [alice, bob] = await Promise.all([register(server, 'alice'), register(server, 'bob')])
    const root = await alice.createRoom(space({ ...open, initial_state: [worldReadable] }))
    const room = await alice.createRoom(membersOf(root))
    await link(alice, root, room)
    expect((await walk(bob, root)).ids).toEqual([root])
    await bob.join(root)
    const { ids, rooms } = await walk(bob, root)
    expect(ids).toEqual([root, room])
    expect(rooms.get(room)).toMatchObject({ join_rule: 'restricted', allowed_room_ids: [root] })
  })

  it('is refused to those who may not look into it', async () => {
    const [alice, bob] = await Promise.all([register(server, 'alice'), register(server, 'bob')])
    const root = await alice.createRoom(space(closed))
    const answer = await bob.ask('GET', path(`${v1}/rooms`, root, 'hierarchy'))
    expect(answer).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
  })
})

describe('the summary of a room', () => {
  const summary = (user: Client, room: string) => user.ask('GET', path(`${v1}/room_summary`, room))

  it('names the rooms whose members may join, where there are any', async () => {
    const alice = await register(server)
    const root = await alice.createRoom(space(open))
    const room = await alice.createRoom(membersOf(root))
    const hidden = await alice.createRoom(closed)
    expect((await summary(alice, room)).body).toMatchObject({
      ...{ room_id: room, join_rule: 'restricted', allowed_room_ids: [root] },
      membership: 'join',
    })
    const { status, body } = await summary(alice, hidden)
    expect({ status, id: body['room_id'] }).toEqual({ status: 200, id: hidden })
    expect(body).not.toHaveProperty('allowed_room_ids')
  })

  it('is found by an alias, and tells of encryption and version', async () => {
    const alice = await register(server)
    const name = `summary-${alice.userId.slice(1).split(':')[0]}`
    const room = await alice.createRoom({
      ...{ ...open, room_alias_name: name, name: 'Shown' },
      initial_state: [
        { type: 'm.room.encryption', content: { algorithm: 'm.megolm.v1.aes-sha2' } },
      ],
    })
    const { body } = await summary(alice, `#${name}:${server.name}`)
    expect(body).toMatchObject({
      ...{ room_id: room, name: 'Shown', num_joined_members: 1, membership: 'join' },
      ...{ encryption: 'm.megolm.v1.aes-sha2', room_version: expect.any(String) },
    })
  })

  it('is not found by those who may not look into the room', async () => {
    const [alice, bob] = await Promise.all([register(server, 'alice'), register(server, 'bob')])
    const room = await alice.createRoom(closed)
    expect(await summary(bob, room)).toMatchObject({
      status: 404,
      body: { errcode: 'M_NOT_FOUND' },
    })
    await alice.invite(room, bob.userId)
    expect((await summary(bob, room)).body).toMatchObject({ room_id: room, membership: 'invite' })
  })
})
