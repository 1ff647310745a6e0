import { describe, expect, it } from 'vitest'
import { inSection, inTimeline, register } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'

/** Bob was in the room and left; afterwards its name changed and alice spoke. */
async function departedRoom() {
  const { alice, bob, room } = await joinedRoom({ name: 'then' })
  const before = await alice.sendText(room, 'before')
  const { next_batch: atLeave } = await bob.sync()
  await bob.leave(room)
  await alice.setState(room, 'm.room.name', '', { name: 'now' })
  const after = await alice.sendText(room, 'after')
  return { alice, bob, room, before, after, atLeave }
}

describe('a room one has left', () => {
  it('shows its state as it was', async () => {
    const { bob, room } = await departedRoom()
    const state = await bob.allState(room)
    expect(state.find(({ type }) => type === 'm.room.name')?.content).toEqual({ name: 'then' })
    expect(state.find(({ state_key }) => state_key === bob.userId)?.content).toMatchObject({
      membership: 'leave',
    })
  })

  it('shows its members as they were', async () => {
    const { alice, bob, room } = await departedRoom()
    const carol = await register(server)
    await carol.join(room)
    const { chunk } = await bob.call('GET', bob.room(room, 'members'))
    expect(chunk).toContainEqual(expect.objectContaining({ state_key: alice.userId }))
    expect(JSON.stringify(chunk)).not.toContain(carol.userId)
  })

  it('hides who is in it now', async () => {
    const { bob, room } = await departedRoom()
    expect((await bob.ask('GET', bob.room(room, 'joined_members'))).status).toBe(403)
  })

  itSynapseBreaks(
    'If visibility was set to shared, and the user joined the room at any point after the event was sent, allow. … Otherwise, deny.',
  )('ends at the leave when read forth', async () => {
    const { bob, room, atLeave, after } = await departedRoom()
    const { chunk } = await bob.messages(room, { dir: 'f', from: atLeave })
    expect(chunk).toContainEqual(expect.objectContaining({ state_key: bob.userId }))
    expect(chunk.map(({ event_id }) => event_id)).not.toContain(after)
  })

  it('is not in later incremental syncs', async () => {
    const { bob } = await departedRoom()
    const { next_batch: since } = await bob.sync()
    const other = await bob.createRoom()
    await bob.sendText(other, 'x')
    expect((await bob.sync({ since })).rooms.leave).toEqual({})
  })

  it('is in the leave section of a full state sync that asks for such rooms', async () => {
    const { bob, room } = await departedRoom()
    const filter = { room: { include_leave: true } }
    const { rooms } = await bob.sync({ filter, fullState: true })
    expect(rooms.leave[room]).toBeDefined()
  })

  it('shows a timeline that was cut when too much happened before the leave', async () => {
    const { alice, bob, room } = await joinedRoom()
    const { next_batch: since } = await bob.sync()
    for (let i = 0; i < 8; i++) await alice.sendText(room, `${i}`)
    await alice.setState(room, 'm.room.topic', '', { topic: 'in the gap' })
    for (let i = 0; i < 4; i++) await alice.sendText(room, `later ${i}`)
    await bob.leave(room)
    const { rooms } = await bob.sync({ since, filter: { room: { timeline: { limit: 3 } } } })
    expect(rooms.leave[room]?.timeline).toMatchObject({ limited: true })
    expect(rooms.leave[room]?.state.events).toContainEqual(
      expect.objectContaining({ content: expect.objectContaining({ topic: 'in the gap' }) }),
    )
  })

  it('can be left again and again by one who is invited again and again', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({ preset: 'private_chat' })
    for (let i = 0; i < 3; i++) {
      await alice.invite(room, bob.userId)
      const { next_batch: since } = await bob.syncUntil(inSection('invite', room))
      await bob.leave(room)
      await bob.syncUntil(inSection('leave', room), { since })
    }
  })

  it('by everybody, can still be refused by the invited', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({ preset: 'private_chat' })
    await alice.invite(room, bob.userId)
    const { next_batch: since } = await bob.syncUntil(inSection('invite', room))
    await alice.leave(room)
    await bob.leave(room)
    await bob.syncUntil(inSection('leave', room), { since })
  })

  it('can be entered again by its creator, on invite', async () => {
    const { alice, bob, room } = await joinedRoom({ room_version: '11' })
    await alice.setState(room, 'm.room.join_rules', '', { join_rule: 'invite' })
    const levels = await alice.getState(room, 'm.room.power_levels')
    await alice.setState(room, 'm.room.power_levels', '', {
      ...levels,
      users: { [alice.userId]: 100, [bob.userId]: 100 },
    })
    await alice.leave(room)
    await bob.invite(room, alice.userId)
    await alice.join(room)
    await alice.sendText(room, 'back again')
  })

  it('can be forgotten after a kick, and by one who was only invited', async () => {
    const { alice, bob, room } = await joinedRoom()
    await alice.kick(room, bob.userId)
    await bob.forget(room)
    const carol = await register(server)
    await alice.invite(room, carol.userId)
    await carol.leave(room)
    await carol.forget(room)
  })

  it('is shown once more when it was left and forgotten between two syncs', async () => {
    const { bob, room } = await joinedRoom()
    const { next_batch: since } = await bob.sync()
    await bob.leave(room)
    await bob.forget(room)
    expect((await bob.sync({ since })).rooms.leave[room]).toBeDefined()
  })
})

describe('what one may read of the time after', () => {
  it('a ban, is nothing', async () => {
    const { alice, bob, room } = await joinedRoom()
    await alice.ban(room, bob.userId)
    const id = await alice.sendText(room, 'after the ban')
    expect((await bob.ask('GET', bob.room(room, 'event', id))).status).toBe(404)
  })

  it('a return, is everything that the history allows', async () => {
    const { alice, bob, room } = await joinedRoom()
    await bob.leave(room)
    const missed = await alice.sendText(room, 'missed')
    await bob.join(room)
    const { chunk } = await bob.messages(room)
    expect(chunk.map(({ event_id }) => event_id)).toContain(missed)
    const mark = await alice.sendText(room, 'mark')
    await bob.syncUntil(inTimeline(room, ({ event_id }) => event_id === mark))
  })
})
