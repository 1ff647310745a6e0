import { describe, expect, it } from 'vitest'
import { type Client, register, unique } from '../harness/client.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { type Body, path } from '../harness/http.ts'

type Query = Record<string, string | number | boolean>

const related = (type: string, event: string, more: Body = {}): Body => ({
  'm.relates_to': { rel_type: type, event_id: event, ...more },
})
const message = (body: string, more: Body = {}): Body => ({ msgtype: 'm.text', body, ...more })
const reply = (user: Client, room: string, root: string, body = 'reply') =>
  user.sendEvent(room, 'm.room.message', message(body, related('m.thread', root)))
const edit = (user: Client, room: string, event: string, body: string) =>
  user.sendEvent(
    room,
    'm.room.message',
    message(`* ${body}`, { 'm.new_content': message(body), ...related('m.replace', event) }),
  )
const react = (user: Client, room: string, event: string, key: string) =>
  user.ask('PUT', user.room(room, 'send', 'm.reaction', unique('reaction')), {
    body: related('m.annotation', event, { key }),
  })

function relations(
  user: Client,
  room: string,
  event: string,
  rest: string[] = [],
  query: Query = {},
) {
  const where = path('/_matrix/client/v1/rooms', room, 'relations', event, ...rest)
  return user.ask('GET', where, { query })
}

const eventsIn = (body: Body): Body[] => Object(body)['chunk'] ?? []
const idsIn = (body: Body) => eventsIn(body).map((event) => event['event_id'])
const bundleIn = (event: unknown): Body => Object(Object(event)['unsigned'])['m.relations'] ?? {}

describe('what relates to an event', () => {
  it('is read, of all kinds, of one, and of one with a type', async () => {
    const alice = await register(server)
    const room = await alice.createRoom()
    const root = await alice.sendText(room, 'root')
    const threaded = await reply(alice, room, root)
    const dummy = await alice.sendEvent(room, 'm.dummy', related('m.thread', root))
    const edited = await edit(alice, room, root, 'edited root')
    const read = async (...rest: string[]) => idsIn((await relations(alice, room, root, rest)).body)
    expect(await read()).toEqual([edited, dummy, threaded])
    expect(await read('m.thread')).toEqual([dummy, threaded])
    expect(await read('m.thread', 'm.room.message')).toEqual([threaded])
    expect(await read('m.reference')).toEqual([])
  })

  it('comes page by page in either direction', async () => {
    const alice = await register(server)
    const room = await alice.createRoom()
    const root = await alice.sendText(room, 'root')
    const replies: string[] = []
    for (let at = 0; at < 10; at++) replies.push(await reply(alice, room, root, `reply ${at}`))
    for (const dir of ['b', 'f']) {
      const order = dir === 'f' ? replies : replies.toReversed()
      const first = await relations(alice, room, root, [], { dir, limit: 3 })
      expect(idsIn(first.body)).toEqual(order.slice(0, 3))
      expect(first.body).not.toHaveProperty('prev_batch')
      const from = String(first.body['next_batch'])
      const second = await relations(alice, room, root, [], { dir, limit: 3, from })
      expect(idsIn(second.body)).toEqual(order.slice(3, 6))
      expect(second.body).toHaveProperty('prev_batch')
      const last = await relations(alice, room, root, [], {
        ...{ dir, limit: 4, from: String(second.body['next_batch']) },
      })
      expect(idsIn(last.body)).toEqual(order.slice(6))
      expect(last.body).not.toHaveProperty('next_batch')
    }
  })

  it('goes on from the token of a sync, and of messages', async () => {
    const alice = await register(server)
    const room = await alice.createRoom()
    const root = await alice.sendText(room, 'root')
    const before = await reply(alice, room, root, 'before')
    const { next_batch } = await alice.syncUntil(({ rooms }) =>
      JSON.stringify(rooms.join[room] ?? {}).includes(before),
    )
    const after: string[] = []
    for (let at = 0; at < 5; at++) after.push(await reply(alice, room, root, `after ${at}`))
    const page = { dir: 'f', limit: 3 }
    const first = await relations(alice, room, root, [], { ...page, from: next_batch })
    expect(idsIn(first.body)).toEqual(after.slice(0, 3))
    const from = String(first.body['next_batch'])
    expect(idsIn((await relations(alice, room, root, [], { ...page, from })).body)).toEqual(
      after.slice(3),
    )
    const { end = '' } = await alice.messages(room, { limit: 2 })
    const older = await relations(alice, room, root, [], { limit: 10, from: end })
    expect(idsIn(older.body)).toEqual([...after.slice(0, 3).toReversed(), before])
  })

  it('is followed further when that is asked for', async () => {
    const alice = await register(server)
    const room = await alice.createRoom()
    const root = await alice.sendText(room, 'root')
    const threaded = await reply(alice, room, root)
    await react(alice, room, threaded, '👍')
    const direct = await relations(alice, room, root)
    expect(idsIn(direct.body)).toEqual([threaded])
    expect(direct.body).not.toHaveProperty('recursion_depth')
    const all = await relations(alice, room, root, [], { recurse: true })
    expect(idsIn(all.body)).toHaveLength(2)
    expect(all.body).toMatchObject({ recursion_depth: 3 })
  })

  it('is nothing that is redacted, and no edit of what is', async () => {
    const alice = await register(server)
    const room = await alice.createRoom()
    const root = await alice.sendText(room, 'root')
    const gone = await reply(alice, room, root)
    const kept = await reply(alice, room, root)
    const edited = await edit(alice, room, root, 'better')
    await alice.redact(room, gone)
    await expect
      .poll(async () => idsIn((await relations(alice, room, root)).body), { timeout: 10_000 })
      .toEqual([edited, kept])
    await alice.redact(room, root)
    await expect
      .poll(async () => idsIn((await relations(alice, room, root)).body), { timeout: 10_000 })
      .toEqual([kept])
  })

  it('is not told to outsiders, and not of events that are not there', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom()
    const root = await alice.sendText(room, 'root')
    expect([403, 404]).toContain((await relations(bob, room, root)).status)
    expect((await relations(alice, room, '$nothing:example.org')).status).toBe(404)
  })
})

describe('with an event comes', () => {
  async function bundles(user: Client, room: string, event: string) {
    const context = await user.call('GET', user.room(room, 'context', event))
    const { chunk } = await user.messages(room, { limit: 50 })
    return {
      event: bundleIn(await user.event(room, event)),
      context: bundleIn(context['event']),
      messages: bundleIn(chunk.find(({ event_id }) => event_id === event)),
    }
  }
  const everywhere = (bundle: Body) => ({ event: bundle, context: bundle, messages: bundle })

  it('its newest edit, by its sender and with new content', async () => {
    const { alice, bob, room } = await joinedRoom()
    const event = await alice.sendText(room, 'first')
    await edit(alice, room, event, 'second')
    const newest = await edit(alice, room, event, 'third')
    await edit(bob, room, event, 'of somebody else')
    await alice.sendEvent(room, 'm.sticker', { body: 'x', ...related('m.replace', event) })
    const shown = {
      'm.replace': { event_id: newest, content: { 'm.new_content': { body: 'third' } } },
    }
    expect(await bundles(bob, room, event)).toMatchObject(everywhere(shown))
    expect((await bob.event(room, event)).content).toMatchObject({ body: 'first' })
  })

  it('the thread that it begins, and what refers to it', async () => {
    const { alice, bob, room } = await joinedRoom()
    const root = await alice.sendText(room, 'root')
    await reply(bob, room, root)
    const latest = await reply(bob, room, root)
    const reference = await bob.sendEvent(room, 'org.example', related('m.reference', root))
    const thread = { count: 2, current_user_participated: true, latest_event: { event_id: latest } }
    expect(await bundles(alice, room, root)).toMatchObject(
      everywhere({ 'm.thread': thread, 'm.reference': { chunk: [{ event_id: reference }] } }),
    )
  })

  it('nothing of annotations, and nothing that was redacted', async () => {
    const { alice, bob, room } = await joinedRoom()
    const event = await alice.sendText(room, 'first')
    await react(bob, room, event, '👍')
    const edited = await edit(alice, room, event, 'second')
    const answer = await reply(bob, room, event)
    await alice.redact(room, edited)
    await bob.redact(room, answer)
    await expect.poll(() => bundles(bob, room, event), { timeout: 10_000 }).toEqual(everywhere({}))
  })

  it('in a sync what relates to events of a timeline that is cut, and only there', async () => {
    const { alice, bob, room } = await joinedRoom()
    const { next_batch: since } = await bob.sync()
    const event = await alice.sendText(room, 'first')
    const edited = await edit(alice, room, event, 'second')
    const shown = async (limit: number) => {
      const filter = { room: { timeline: { limit } } }
      const answer = await bob.syncUntil(
        ({ rooms }) => JSON.stringify(rooms.join[room] ?? {}).includes(edited),
        { since, filter },
      )
      const events: Body[] = Object(answer.rooms.join[room]?.timeline)['events'] ?? []
      return bundleIn(events.find(({ event_id }) => event_id === event))
    }
    expect(await shown(20)).toEqual({})
    for (let at = 0; at < 5; at++) await alice.sendText(room, 'more')
    const initial = await bob.sync()
    const events: Body[] = Object(initial.rooms.join[room]?.timeline)['events'] ?? []
    expect(bundleIn(events.find(({ event_id }) => event_id === event))).toMatchObject({
      'm.replace': { event_id: edited },
    })
  })

  it('nothing of users who are ignored', async () => {
    const { alice, bob, room } = await joinedRoom()
    const root = await alice.sendText(room, 'root')
    const mine = await reply(alice, room, root)
    await reply(bob, room, root)
    await bob.sendEvent(room, 'org.example', related('m.reference', root))
    await alice.call('PUT', alice.dataPath('m.ignored_user_list'), {
      body: { ignored_users: { [bob.userId]: {} } },
    })
    await expect
      .poll(() => bundles(alice, room, root), { timeout: 10_000 })
      .toMatchObject(everywhere({ 'm.thread': { count: 1, latest_event: { event_id: mine } } }))
    expect((await bundles(alice, room, root)).event).not.toHaveProperty('m.reference')
  })
})

describe('a relation', () => {
  it('that annotates an event as the same user did before is refused', async () => {
    const { alice, bob, room } = await joinedRoom()
    const event = await alice.sendText(room, 'nice')
    const first = await react(bob, room, event, '👍')
    expect(first.status).toBe(200)
    expect(await react(bob, room, event, '👍')).toMatchObject({
      ...{ status: 400, body: { errcode: 'M_DUPLICATE_ANNOTATION' } },
    })
    expect((await react(bob, room, event, '👎')).status).toBe(200)
    expect((await react(alice, room, event, '👍')).status).toBe(200)
    await bob.redact(room, String(first.body['event_id']))
    await expect
      .poll(async () => (await react(bob, room, event, '👍')).status, { timeout: 10_000 })
      .toBe(200)
  })

  it('that begins a thread at an event with a relation is refused', async () => {
    const alice = await register(server)
    const room = await alice.createRoom()
    const root = await alice.sendText(room, 'root')
    const threaded = await reply(alice, room, root)
    const nested = await alice.ask('PUT', alice.room(room, 'send', 'm.room.message', 'nested'), {
      body: message('nested', related('m.thread', threaded)),
    })
    expect(nested).toMatchObject({ status: 400, body: { errcode: 'M_UNKNOWN' } })
  })
})

describe('a filter of messages', () => {
  it('keeps events by the relations that they have, and by those that others have to them', async () => {
    const { alice, bob, room } = await joinedRoom()
    const { next_batch: from } = await alice.syncUntil(({ rooms }) => room in rooms.join)
    const root = await alice.sendText(room, 'no relation')
    const threaded = await reply(bob, room, root)
    const reference = await alice.sendEvent(
      room,
      'm.room.message',
      message('reference', related('m.reference', threaded)),
    )
    const find = async (filter: Body) => {
      const query = { dir: 'f', from, limit: 50, filter: JSON.stringify(filter) }
      return idsIn(await alice.messages(room, query))
    }
    const is = 'org.matrix.msc3874.rel_types'
    const isNot = 'org.matrix.msc3874.not_rel_types'
    expect(await find({ [is]: ['m.thread'] })).toEqual([threaded])
    expect(await find({ [is]: ['m.reference'] })).toEqual([reference])
    expect(await find({ [is]: ['m.thread', 'm.reference'] })).toEqual([threaded, reference])
    expect(await find({ [isNot]: ['m.thread'] })).toEqual([root, reference])
    expect(await find({ [isNot]: ['m.reference'] })).toEqual([root, threaded])
    expect(await find({ [isNot]: ['m.thread', 'm.reference'] })).toEqual([root])
    expect(await find({ related_by_rel_types: ['m.thread'] })).toEqual([root])
    expect(await find({ related_by_senders: [alice.userId] })).toEqual([threaded])
    expect(
      await find({ related_by_senders: [bob.userId], related_by_rel_types: ['m.reference'] }),
    ).toEqual([])
  })
})
