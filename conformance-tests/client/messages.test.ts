import { describe, expect, it } from 'vitest'
import { type Client, register } from '../harness/client.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'

async function filledRoom(count: number) {
  const { alice, bob, room } = await joinedRoom()
  const ids: string[] = []
  for (let i = 0; i < count; i++)
    ids.push(await (i % 2 ? bob : alice).sendText(room, `message ${i}`))
  return { alice, bob, room, ids }
}

/** Pages until the end and returns the ids in the order in which they came. */
async function pageAll(
  client: Client,
  room: string,
  dir: 'b' | 'f',
  limit: number,
): Promise<string[]> {
  const ids: string[] = []
  let from: string | undefined
  for (let pages = 0; pages < 50; pages++) {
    const page = await client.messages(room, { dir, limit, from })
    ids.push(...page.chunk.map(({ event_id }) => event_id))
    if (page.end === undefined) return ids
    from = page.end
  }
  throw new Error('the pages never end')
}

describe('the messages of a room', () => {
  it.each([1, 3, 7, 100])('are all there, in order, in pages of %i', async (limit) => {
    const { alice, room, ids } = await filledRoom(12)
    const back = await pageAll(alice, room, 'b', limit)
    const forth = await pageAll(alice, room, 'f', limit)
    expect(new Set(back).size).toBe(back.length)
    expect(back).toEqual([...forth].reverse())
    expect(forth.slice(-12)).toEqual(ids)
    expect((await alice.event(room, forth[0] ?? '')).type).toBe('m.room.create')
  })

  it('begin where sync ended', async () => {
    const { alice, room, ids } = await filledRoom(6)
    const { rooms } = await alice.sync({ filter: { room: { timeline: { limit: 2 } } } })
    const { chunk } = await alice.messages(room, {
      from: rooms.join[room]?.timeline.prev_batch,
      limit: 2,
    })
    expect(chunk.map(({ event_id }) => event_id)).toEqual([ids[3], ids[2]])
  })

  it('stop at the token that is given as end', async () => {
    const { alice, bob, room } = await joinedRoom()
    const { next_batch: from } = await alice.sync()
    const id = await bob.sendText(room, 'one')
    const { next_batch: to } = await alice.sync()
    await bob.sendText(room, 'two')
    const { chunk } = await alice.messages(room, { dir: 'f', from, to })
    expect(chunk.map(({ event_id }) => event_id)).toEqual([id])
  })

  it('go forth from a sync token to what came after', async () => {
    const { alice, bob, room } = await joinedRoom()
    const { next_batch: from } = await alice.sync()
    const id = await bob.sendText(room, 'after the token')
    const { chunk, end } = await alice.messages(room, { dir: 'f', from })
    expect(chunk.map(({ event_id }) => event_id)).toEqual([id])
    if (end !== undefined) {
      expect((await alice.messages(room, { dir: 'f', from: end })).chunk).toEqual([])
    }
  })

  it('are filtered by type and sender, with limits that count what is left', async () => {
    const { alice, bob, room, ids } = await filledRoom(8)
    const filter = JSON.stringify({ types: ['m.room.message'], senders: [bob.userId] })
    const { chunk } = await alice.messages(room, { filter, limit: 3 })
    expect(chunk.map(({ event_id }) => event_id)).toEqual([ids[7], ids[5], ids[3]])
  })

  it('carry the members who speak, when loaded lazily', async () => {
    const { alice, bob, room } = await filledRoom(4)
    const filter = JSON.stringify({ lazy_load_members: true })
    const { state } = await alice.messages(room, { filter, limit: 1 })
    expect(state.map(({ state_key }) => state_key)).toEqual([bob.userId])
  })

  it('name their room', async () => {
    const { alice, room } = await filledRoom(1)
    const { chunk } = await alice.messages(room, { limit: 1 })
    expect(chunk[0]).toMatchObject({
      room_id: room,
      origin_server_ts: expect.any(Number),
      sender: alice.userId,
    })
  })

  it('of a room nobody knows, or one is not in, are refused', async () => {
    const { room } = await joinedRoom()
    const stranger = await register(server)
    await expect(stranger.messages(room)).rejects.toMatchObject({
      status: 403,
      errcode: 'M_FORBIDDEN',
    })
    await expect(stranger.messages(`!none:${server.name}`)).rejects.toMatchObject({
      status: 403,
      errcode: 'M_FORBIDDEN',
    })
  })

  it('end, for one who left, at the leave', async () => {
    const { alice, bob, room } = await joinedRoom()
    const before = await alice.sendText(room, 'before')
    await bob.leave(room)
    const after = await alice.sendText(room, 'after')
    const seen = (await bob.messages(room)).chunk.map(({ event_id }) => event_id)
    expect(seen).toContain(before)
    expect(seen).not.toContain(after)
  })
})

describe('one event', () => {
  it('is read by members', async () => {
    const { alice, bob, room } = await joinedRoom()
    const id = await alice.sendText(room, 'here')
    expect(await bob.event(room, id)).toMatchObject({
      event_id: id,
      room_id: room,
      sender: alice.userId,
      type: 'm.room.message',
      content: { msgtype: 'm.text', body: 'here' },
      unsigned: { age: expect.any(Number) },
    })
  })

  it('is not found by strangers, and not in another room', async () => {
    const { alice, bob, room } = await joinedRoom()
    const id = await alice.sendText(room, 'here')
    const stranger = await register(server)
    expect((await stranger.ask('GET', stranger.room(room, 'event', id))).status).toBe(404)
    const other = await bob.createRoom()
    expect((await bob.ask('GET', bob.room(other, 'event', id))).status).toBe(404)
    expect((await bob.ask('GET', bob.room(room, 'event', '$none'))).status).toBe(404)
  })

  it('shows the membership of the reader at that time', async () => {
    const { alice, bob, room } = await joinedRoom()
    const id = await alice.sendText(room, 'x')
    const { unsigned } = await bob.event(room, id)
    expect(unsigned).toMatchObject({ membership: 'join' })
  })
})

describe('the context of an event', () => {
  it('is what was before and after it, with the state there', async () => {
    const { alice, room, ids } = await filledRoom(9)
    const answer = await alice.call('GET', alice.room(room, 'context', ids[4] ?? ''), {
      query: { limit: 4 },
    })
    const list = (name: string) => {
      const events = answer[name]
      return Array.isArray(events)
        ? events.map(({ event_id }: { event_id: string }) => event_id)
        : []
    }
    expect(answer).toMatchObject({
      event: { event_id: ids[4] },
      start: expect.any(String),
      end: expect.any(String),
    })
    expect(list('events_before')).toEqual([ids[3], ids[2]])
    expect(list('events_after')).toEqual([ids[5], ids[6]])
    const back = await alice.messages(room, { from: String(answer['start']), limit: 1 })
    expect(back.chunk[0]?.event_id).toBe(ids[1])
    const forth = await alice.messages(room, { dir: 'f', from: String(answer['end']), limit: 1 })
    expect(forth.chunk[0]?.event_id).toBe(ids[7])
  })
})
