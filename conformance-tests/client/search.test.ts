import { describe, expect, it } from 'vitest'
import { type Client, inTimeline, register } from '../harness/client.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import type { Body } from '../harness/http.ts'

const v3 = '/_matrix/client/v3'

/** What a search for events found. */
async function find(user: Client, events: Body, nextBatch?: string) {
  const answer = await user.call('POST', `${v3}/search`, {
    body: { search_categories: { room_events: { keys: ['content.body'], ...events } } },
    query: { next_batch: nextBatch },
  })
  return Object(Object(answer['search_categories'])['room_events'])
}

const ids = (found: { results: { result: Body }[] }) =>
  found.results.map(({ result }) => result['event_id'])

const inRoom = (room: string, more: Body = {}) => ({ filter: { rooms: [room], ...more } })

/** A room with so many numbered messages. */
async function roomWith(count: number) {
  const alice = await register(server, 'alice')
  const room = await alice.createRoom({ preset: 'private_chat' })
  const sent: string[] = []
  for (let n = 0; n < count; n++) sent.push(await alice.sendText(room, `Message number ${n}`))
  return { alice, room, sent }
}

describe('a message', () => {
  it('is found by a word of its body', async () => {
    const { alice, room } = await joinedRoom()
    const id = await alice.sendText(room, 'hello, world')
    const found = await find(alice, { search_term: 'hello', ...inRoom(room) })
    expect(found).toMatchObject({
      count: 1,
      highlights: ['hello'],
      results: [{ result: { event_id: id, room_id: room, content: { body: 'hello, world' } } }],
    })
    expect(await find(alice, { search_term: 'goodbye', ...inRoom(room) })).toMatchObject({
      count: 0,
      results: [],
    })
  })

  it('is found with what stands around it', async () => {
    const { alice, room } = await roomWith(7)
    const found = await find(alice, {
      search_term: 'Message 3',
      order_by: 'recent',
      event_context: { before_limit: 2, after_limit: 2, include_profile: true },
      ...inRoom(room, { limit: 1 }),
    })
    const [{ result, context }] = found.results
    expect(found).toMatchObject({ count: 1, next_batch: expect.any(String) })
    expect(result.content.body).toBe('Message number 3')
    const bodies = (events: { content: Body }[]) => events.map(({ content }) => content['body'])
    expect(bodies(context.events_before)).toEqual(['Message number 2', 'Message number 1'])
    expect(bodies(context.events_after)).toEqual(['Message number 4', 'Message number 5'])
    expect(context.profile_info).toMatchObject({ [alice.userId]: expect.any(Object) })
  })

  it('is found page by page, the newest first', async () => {
    const { alice, room, sent } = await roomWith(20)
    const query = { search_term: 'Message', order_by: 'recent', ...inRoom(room, { limit: 10 }) }
    const newest = sent.toReversed()
    const first = await find(alice, query)
    expect(first.count).toBe(20)
    expect(ids(first)).toEqual(newest.slice(0, 10))
    const second = await find(alice, query, first.next_batch)
    expect(second.count).toBe(20)
    expect(ids(second)).toEqual(newest.slice(10))
    const third = await find(alice, query, second.next_batch)
    expect(third).toMatchObject({ count: 20, results: [] })
    expect(third).not.toHaveProperty('next_batch')
  })

  it.each(['rank', 'recent'])('is not found by %s once it is redacted', async (order_by) => {
    const { alice, room } = await joinedRoom()
    const gone = await alice.sendText(room, 'This is going to be redacted')
    const kept = await alice.sendText(room, 'This is not going to be redacted')
    const redaction = await alice.redact(room, gone)
    await alice.syncUntil(inTimeline(room, ({ event_id: id }) => id === redaction))
    const found = await find(alice, { search_term: 'redacted', order_by, ...inRoom(room) })
    expect(ids(found)).toEqual([kept])
  })

  it('is found in a room and in the one that it replaced', async () => {
    const alice = await register(server)
    const old = await alice.createRoom({ preset: 'private_chat', room_version: '9' })
    const before = await alice.sendText(old, 'Message before upgrade')
    const body = { new_version: '10' }
    const { replacement_room } = await alice.call('POST', alice.room(old, 'upgrade'), { body })
    const room = String(replacement_room)
    const after = await alice.sendText(room, 'Message after upgrade')
    const found = await find(alice, { search_term: 'upgrade', filter: { rooms: [old, room] } })
    expect(found.count).toBe(2)
    expect(new Set(ids(found))).toEqual(new Set([before, after]))
  })

  it('is found by those who may see it only', async () => {
    const { alice, bob, room } = await joinedRoom({
      preset: 'public_chat',
      initial_state: [
        {
          ...{ type: 'm.room.history_visibility', state_key: '' },
          content: { history_visibility: 'joined' },
        },
      ],
    })
    const carol = await register(server, 'carol')
    const early = await alice.sendText(room, 'a secret of old')
    await carol.join(room)
    const late = await alice.sendText(room, 'a secret of today')
    expect(ids(await find(carol, { search_term: 'secret' }))).toEqual([late])
    expect(new Set(ids(await find(bob, { search_term: 'secret' })))).toEqual(new Set([early, late]))
    const stranger = await register(server)
    expect(await find(stranger, { search_term: 'secret', ...inRoom(room) })).toMatchObject({
      count: 0,
      results: [],
    })
  })

  it('is found grouped, with the state of its room', async () => {
    const { alice, bob, room } = await joinedRoom()
    const mine = await alice.sendText(room, 'grouped things')
    const theirs = await bob.sendText(room, 'grouped things')
    const found = await find(alice, {
      search_term: 'grouped',
      include_state: true,
      groupings: { group_by: [{ key: 'room_id' }, { key: 'sender' }] },
      ...inRoom(room),
    })
    expect(new Set(found.groups.room_id[room].results)).toEqual(new Set([mine, theirs]))
    if (found.groups.sender) expect(found.groups.sender[bob.userId].results).toEqual([theirs])
    expect(found.state[room]).toContainEqual(expect.objectContaining({ type: 'm.room.create' }))
  })
})
