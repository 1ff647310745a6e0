import { describe, expect, it } from 'vitest'
import { inSection, inTimeline, register } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import type { SyncAnswer } from '../harness/shapes.ts'

describe('an initial sync', () => {
  it('has the rooms with state and timeline, and no event twice', async () => {
    const { alice, bob, room } = await joinedRoom({ name: 'a name' })
    await bob.sendText(room, 'hello')
    const { rooms } = await alice.syncUntil(
      inTimeline(room, ({ content }) => content['body'] === 'hello'),
    )
    const shown = rooms.join[room]
    const state = shown?.state.events ?? []
    const timeline = shown?.timeline.events ?? []
    const all = [...state, ...timeline]
    expect(new Set(all.map(({ event_id }) => event_id)).size).toBe(all.length)
    expect(all).toContainEqual(expect.objectContaining({ type: 'm.room.create' }))
  })

  it('cuts a long timeline and names where to go on', async () => {
    const { alice, bob, room } = await joinedRoom()
    const ids: string[] = []
    for (let i = 0; i < 15; i++) ids.push(await bob.sendText(room, `message ${i}`))
    const filter = { room: { timeline: { limit: 5 } } }
    const { rooms } = await alice.sync({ filter })
    const timeline = rooms.join[room]?.timeline
    expect(timeline?.limited).toBe(true)
    expect(timeline?.events.map(({ event_id }) => event_id)).toEqual(ids.slice(-5))
    const { chunk } = await alice.messages(room, { from: timeline?.prev_batch, limit: 5 })
    expect(chunk.map(({ event_id }) => event_id)).toEqual(ids.slice(-10, -5).reverse())
  })

  it('gives events without room_id', async () => {
    const { alice, room } = await joinedRoom()
    await alice.sendText(room, 'x')
    const { rooms } = await alice.sync({ filter: { room: { timeline: { limit: 3 } } } })
    for (const { room_id } of rooms.join[room]?.timeline.events ?? [])
      expect(room_id).toBeUndefined()
  })

  it('does not show rooms that were left, unless asked to', async () => {
    const { alice, bob, room } = await joinedRoom()
    await bob.leave(room)
    await alice.sendText(room, 'after')
    const without = await bob.sync()
    expect(without.rooms.leave[room]).toBeUndefined()
    expect(without.rooms.join[room]).toBeUndefined()
    const { rooms } = await bob.sync({ filter: { room: { include_leave: true } } })
    const events = [
      ...(rooms.leave[room]?.state.events ?? []),
      ...(rooms.leave[room]?.timeline.events ?? []),
    ]
    expect(events).toContainEqual(expect.objectContaining({ state_key: bob.userId }))
    expect(JSON.stringify(events)).not.toContain('after')
  })
})

describe('an incremental sync', () => {
  it('is empty when nothing happened', async () => {
    const { alice } = await joinedRoom()
    const { next_batch: since } = await alice.syncUntil(
      (answer) => Object.keys(answer.rooms.join).length === 1,
    )
    const answer = await alice.sync({ since })
    expect(answer.rooms).toMatchObject({ join: {}, invite: {}, leave: {} })
  })

  it('has what happened since, once', async () => {
    const { alice, bob, room } = await joinedRoom()
    const { next_batch: first } = await alice.sync()
    const id = await bob.sendText(room, 'news')
    const answer = await alice.syncUntil(
      inTimeline(room, ({ event_id }) => event_id === id),
      { since: first },
    )
    expect(answer.rooms.join[room]?.timeline).toMatchObject({ limited: false })
    expect(answer.rooms.join[room]?.state.events).toEqual([])
    const { rooms } = await alice.sync({ since: answer.next_batch })
    expect(rooms.join[room]?.timeline.events ?? []).toEqual([])
  })

  it('waits until something happens', async () => {
    const { alice, bob, room } = await joinedRoom()
    const { next_batch: since } = await alice.sync()
    const startedAt = performance.now()
    const waiting = alice.syncUntil(
      inTimeline(room, () => true),
      { since, timeoutMs: 20_000 },
    )
    await new Promise((resolve) => setTimeout(resolve, 300))
    await bob.sendText(room, 'wake up')
    await waiting
    expect(performance.now() - startedAt).toBeLessThan(10_000)
    expect(performance.now() - startedAt).toBeGreaterThan(290)
  })

  it('returns empty when the time is over', async () => {
    const { alice } = await joinedRoom()
    const { next_batch: since } = await alice.sync()
    const quiet = await alice.sync({ since })
    const startedAt = performance.now()
    const answer = await alice.sync({ since: quiet.next_batch, timeoutMs: 1_000 })
    expect(performance.now() - startedAt).toBeGreaterThan(900)
    expect(answer.rooms.join).toEqual({})
  })

  it('shows the state that changed within a gap', async () => {
    const { alice, bob, room } = await joinedRoom()
    const { next_batch: since } = await alice.sync()
    await alice.setState(room, 'm.room.name', '', { name: 'changed in the gap' })
    const ids: string[] = []
    for (let i = 0; i < 12; i++) ids.push(await bob.sendText(room, `message ${i}`))
    const answer = await alice.sync({ since, filter: { room: { timeline: { limit: 5 } } } })
    const shown = answer.rooms.join[room]
    expect(shown?.timeline.limited).toBe(true)
    expect(shown?.timeline.events.map(({ event_id }) => event_id)).toEqual(ids.slice(-5))
    expect(shown?.state.events).toContainEqual(
      expect.objectContaining({ type: 'm.room.name', content: { name: 'changed in the gap' } }),
    )
    const { chunk } = await alice.messages(room, { from: shown?.timeline.prev_batch, limit: 20 })
    expect(chunk.slice(0, 7).map(({ event_id }) => event_id)).toEqual(ids.slice(0, 7).reverse())
  })

  it('brings a room that was joined with its whole state', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({ preset: 'public_chat', name: 'before bob' })
    const { next_batch: since } = await bob.sync()
    await bob.join(room)
    const answer = await bob.syncUntil(inSection('join', room), { since })
    const shown = answer.rooms.join[room]
    const all = [...(shown?.state.events ?? []), ...(shown?.timeline.events ?? [])]
    expect(all).toContainEqual(expect.objectContaining({ content: { name: 'before bob' } }))
    expect(all).toContainEqual(
      expect.objectContaining({ state_key: alice.userId, type: 'm.room.member' }),
    )
  })

  it('shows a room that was left once', async () => {
    const { bob, room } = await joinedRoom()
    const { next_batch: since } = await bob.sync()
    await bob.leave(room)
    const answer = await bob.syncUntil(inSection('leave', room), { since })
    const later = await bob.sync({ since: answer.next_batch })
    expect(later.rooms.leave[room]).toBeUndefined()
  })

  it('shows why one was thrown out, and nothing after it', async () => {
    const { alice, bob, room } = await joinedRoom()
    const { next_batch: since } = await bob.sync()
    await alice.sendText(room, 'still for bob')
    await alice.kick(room, bob.userId, { reason: 'enough' })
    await alice.sendText(room, 'not for bob')
    const { rooms } = await bob.syncUntil(inSection('leave', room), { since })
    const text = JSON.stringify(rooms.leave[room])
    expect(text).toContain('still for bob')
    expect(text).toContain('enough')
    expect(text).not.toContain('not for bob')
  })

  it('with full_state has the whole state again, at once', async () => {
    const { alice, room } = await joinedRoom({ name: 'full' })
    const { next_batch: since } = await alice.sync()
    const startedAt = performance.now()
    const answer = await alice.sync({ since, fullState: true, timeoutMs: 10_000 })
    expect(performance.now() - startedAt).toBeLessThan(5_000)
    expect(answer.rooms.join[room]?.state.events).toContainEqual(
      expect.objectContaining({ type: 'm.room.name', content: { name: 'full' } }),
    )
  })

  it('misses nothing and repeats nothing while many write at once, in several rooms', async () => {
    const alice = await register(server)
    const writers = await Promise.all(Array.from({ length: 6 }, () => register(server)))
    const rooms = await Promise.all(
      [0, 1, 2].map(() => alice.createRoom({ preset: 'public_chat' })),
    )
    for (const writer of writers) for (const room of rooms) await writer.join(room)
    let since = (await alice.sync()).next_batch
    const sent: string[] = []
    const writing = Promise.all(
      writers.map(async (writer, index) => {
        for (let i = 0; i < 20; i++)
          sent.push(await writer.sendText(rooms[(i + index) % 3] ?? '', `${i}`))
      }),
    ).then(() => true)
    const seen = new Map<string, string[]>(rooms.map((room) => [room, []]))
    const filter = { room: { timeline: { limit: 100, types: ['m.room.message'] } } }
    const count = () => [...seen.values()].flat().length
    const deadline = performance.now() + 20_000
    while (count() < 120 && performance.now() < deadline) {
      const answer = await alice.sync({ since, filter, timeoutMs: 500 })
      for (const [room, { timeline }] of Object.entries(answer.rooms.join)) {
        seen.get(room)?.push(...timeline.events.map(({ event_id }) => event_id))
      }
      since = answer.next_batch
    }
    await writing
    expect([...seen.values()].flat().sort()).toEqual(sent.sort())
    for (const room of rooms) {
      const { chunk } = await alice.messages(room, {
        limit: 200,
        filter: '{"types":["m.room.message"]}',
      })
      expect(new Set(chunk.map(({ event_id }) => event_id))).toEqual(new Set(seen.get(room)))
    }
  })

  it('sees a leave and a join in one answer as a join', async () => {
    const { bob, room } = await joinedRoom()
    const { next_batch: since } = await bob.sync()
    await bob.leave(room)
    await bob.join(room)
    const answer = await bob.sync({ since })
    expect(answer.rooms.join[room]).toBeDefined()
    expect(answer.rooms.leave[room]).toBeUndefined()
  })
})

describe('the summary of a room', () => {
  // Only clients that load members lazily are told there.
  itSynapseBreaks(
    'If this field has not changed since the last sync, it may be omitted. Required otherwise.',
  )('counts who is joined and who is invited, as it changes', async () => {
    const [alice, bob] = [await register(server), await register(server)]
    const { next_batch: since } = await alice.sync()
    const room = await alice.createRoom({ preset: 'public_chat', invite: [bob.userId] })
    const counts = (joined: number, invited: number) => (answer: SyncAnswer) => {
      const summary = answer.rooms.join[room]?.summary
      return (
        summary?.['m.joined_member_count'] === joined &&
        (summary['m.invited_member_count'] ?? 0) === invited
      )
    }
    const first = await alice.syncUntil(counts(1, 1), { since })
    const invited = await bob.syncUntil(inSection('invite', room))
    await bob.join(room)
    await bob.syncUntil(counts(2, 0), { since: invited.next_batch })
    await alice.syncUntil(counts(2, 0), { since: first.next_batch })
  })
})
