import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type EventId, parseDeviceId, type RoomId, type UserId } from '../../spec/ids.ts'
import { isObject, type JsonObject, objectAt } from '../../spec/json.ts'
import type { Seen } from '../events/events.ts'
import type { Requester } from './rooms.ts'
import { deliver, openTestRooms, type TestNetwork, type TestRooms } from './test-rooms.ts'

const network: TestNetwork = new Map()
const ignored = new Map<UserId, ReadonlySet<UserId>>()
let server: TestRooms
let alice: Requester
let bob: Requester
let carol: Requester
beforeAll(async () => {
  const ignoredUsers = async (user: UserId) => ignored.get(user) ?? new Set<UserId>()
  server = await openTestRooms('here.test', network, { ignoredUsers })
  alice = server.user('alice')
  bob = server.user('bob')
  carol = server.user('carol')
}, 60_000)
afterAll(() => server[Symbol.asyncDispose]())

const send = (who: Requester, room: RoomId, content: JsonObject, type = 'm.room.message') =>
  server.rooms.send(who, { room, type, content })
const say = (who: Requester, room: RoomId, body: string) => send(who, room, { body })
const relate = (rel_type: string, event_id: EventId, more: JsonObject = {}): JsonObject => ({
  'm.relates_to': { rel_type, event_id, ...more },
})
const reply = (who: Requester, room: RoomId, root: EventId, body = 'reply') =>
  send(who, room, { body, ...relate('m.thread', root) })
const edit = (who: Requester, room: RoomId, event: EventId, body: string) =>
  send(who, room, {
    body: `* ${body}`,
    'm.new_content': { body },
    ...relate('m.replace', event),
  })
const refer = (who: Requester, room: RoomId, event: EventId) =>
  send(who, room, relate('m.reference', event), 'org.reference')
const react = (who: Requester, room: RoomId, event: EventId, key: string) =>
  send(who, room, relate('m.annotation', event, { key }), 'm.reaction')

async function roomOf(...users: readonly Requester[]): Promise<RoomId> {
  const room = await server.rooms.create(alice, { preset: 'public_chat' })
  for (const user of users) await server.rooms.join(user, room, { via: [] })
  return room
}

const ids = (list: readonly Seen[]) => list.map(({ event }) => event.pdu.eventId)

/** What a client is shown under `m.relations` of an event. */
async function bundleOf(who: Requester, room: RoomId, event: EventId): Promise<JsonObject> {
  const seen = await server.rooms.event(who, room, event)
  const shown: unknown = JSON.parse(server.rooms.clientEvent(seen, who))
  const unsigned = isObject(shown) ? objectAt(shown, 'unsigned') : undefined
  return (unsigned && objectAt(unsigned, 'm.relations')) ?? {}
}

const query = { dir: 'b', limit: 10, recurse: false } as const

describe('what relates to an event', () => {
  it('is read by kind and type, in either direction, page by page', async () => {
    const room = await roomOf()
    const root = await say(alice, room, 'root')
    const replies: EventId[] = []
    for (let at = 0; at < 5; at++) replies.push(await reply(alice, room, root))
    const reaction = await react(alice, room, root, '+1')
    const all = await server.rooms.related(alice, room, root, query)
    expect(ids(all.chunk)).toEqual([reaction, ...replies.toReversed()])
    expect(all).not.toHaveProperty('next')
    const kind = { ...query, relType: 'm.thread', eventType: 'm.room.message', limit: 3 }
    const first = await server.rooms.related(alice, room, root, kind)
    expect(ids(first.chunk)).toEqual(replies.toReversed().slice(0, 3))
    const from = first.next ?? ''
    const second = await server.rooms.related(alice, room, root, { ...kind, from })
    expect(ids(second.chunk)).toEqual(replies.toReversed().slice(3))
    expect(second).not.toHaveProperty('next')
    const forth = await server.rooms.related(alice, room, root, { ...kind, dir: 'f' })
    expect(ids(forth.chunk)).toEqual(replies.slice(0, 3))
    const up = await server.rooms.related(alice, room, root, {
      ...kind,
      dir: 'f',
      from: forth.next ?? '',
    })
    expect(ids(up.chunk)).toEqual(replies.slice(3))
    const none = { ...kind, eventType: 'm.sticker' }
    expect((await server.rooms.related(alice, room, root, none)).chunk).toEqual([])
  })

  it('is followed over three steps when that is asked for', async () => {
    const room = await roomOf()
    const root = await say(alice, room, 'root')
    const chain = [root]
    for (let at = 0; at < 4; at++) chain.push(await refer(alice, room, chain[at] ?? root))
    const page = await server.rooms.related(alice, room, root, { ...query, recurse: true })
    expect(ids(page.chunk)).toEqual(chain.slice(1, 4).toReversed())
    expect(page.recursionDepth).toBe(3)
    const direct = await server.rooms.related(alice, room, root, query)
    expect(ids(direct.chunk)).toEqual(chain.slice(1, 2))
    expect(direct).not.toHaveProperty('recursionDepth')
  })

  it('is what is not redacted, and has no edits of what is', async () => {
    const room = await roomOf()
    const root = await say(alice, room, 'root')
    const gone = await refer(alice, room, root)
    const kept = await refer(alice, room, root)
    const edited = await edit(alice, room, root, 'better')
    await server.rooms.redact(alice, room, gone, undefined)
    const page = await server.rooms.related(alice, room, root, query)
    expect(ids(page.chunk)).toEqual([edited, kept])
    await server.rooms.redact(alice, room, root, undefined)
    expect(ids((await server.rooms.related(alice, room, root, query)).chunk)).toEqual([kept])
  })

  it('is not told to those outside, nor of what came after they left', async () => {
    const room = await roomOf(bob)
    const root = await say(alice, room, 'root')
    const before = await refer(alice, room, root)
    await server.rooms.leave(bob, room)
    await refer(alice, room, root)
    expect(ids((await server.rooms.related(bob, room, root, query)).chunk)).toEqual([before])
    await expect(server.rooms.related(carol, room, root, query)).rejects.toMatchObject({
      errcode: 'M_FORBIDDEN',
    })
  })
})

describe('with an event comes', () => {
  it('its newest valid edit, and the one before when that is redacted', async () => {
    const room = await roomOf(bob)
    const event = await say(alice, room, 'first')
    expect(await bundleOf(bob, room, event)).toEqual({})
    const one = await edit(alice, room, event, 'second')
    const two = await edit(alice, room, event, 'third')
    await edit(bob, room, event, 'of somebody else')
    await send(alice, room, { body: 'nothing new', ...relate('m.replace', event) })
    const shown = {
      'm.replace': { event_id: two, content: { 'm.new_content': { body: 'third' } } },
    }
    expect(await bundleOf(bob, room, event)).toMatchObject(shown)
    await server.rooms.redact(alice, room, two, undefined)
    expect(await bundleOf(bob, room, event)).toMatchObject({ 'm.replace': { event_id: one } })
    await server.rooms.redact(alice, room, event, undefined)
    expect(await bundleOf(bob, room, event)).toEqual({})
  })

  it('what refers to it, but not of ignored users', async () => {
    const room = await roomOf(bob, carol)
    const event = await say(alice, room, 'poll')
    const one = await refer(bob, room, event)
    const two = await refer(carol, room, event)
    expect(await bundleOf(alice, room, event)).toEqual({
      'm.reference': { chunk: [{ event_id: one }, { event_id: two }] },
    })
    ignored.set(alice.user, new Set([bob.user]))
    expect(await bundleOf(alice, room, event)).toEqual({
      'm.reference': { chunk: [{ event_id: two }] },
    })
    ignored.clear()
  })

  it('the thread that it begins, with the latest event as it is by now', async () => {
    const room = await roomOf(bob, carol)
    const root = await say(alice, room, 'root')
    const first = await reply(bob, room, root)
    const second = await reply(bob, room, root, 'draft')
    const edited = await edit(bob, room, second, 'final')
    expect(await bundleOf(carol, room, root)).toMatchObject({
      'm.thread': {
        count: 2,
        current_user_participated: false,
        latest_event: {
          event_id: second,
          unsigned: { 'm.relations': { 'm.replace': { event_id: edited } } },
        },
      },
    })
    const participated = { 'm.thread': { current_user_participated: true } }
    expect(await bundleOf(alice, room, root)).toMatchObject(participated)
    expect(await bundleOf(bob, room, root)).toMatchObject(participated)
    await server.rooms.redact(bob, room, second, undefined)
    expect(await bundleOf(carol, room, root)).toMatchObject({
      'm.thread': { count: 1, latest_event: { event_id: first } },
    })
    await reply(carol, room, root)
    ignored.set(alice.user, new Set([carol.user]))
    expect(await bundleOf(alice, room, root)).toMatchObject({
      'm.thread': { count: 1, latest_event: { event_id: first } },
    })
    ignored.set(alice.user, new Set([bob.user, carol.user]))
    expect(await bundleOf(alice, room, root)).toEqual({})
    ignored.clear()
  })

  it('nothing that the viewer cannot see', async () => {
    const room = await roomOf(bob)
    const root = await say(alice, room, 'root')
    const before = await reply(alice, room, root)
    await server.rooms.leave(bob, room)
    await reply(alice, room, root)
    await edit(alice, room, root, 'later')
    const bundle = await bundleOf(bob, room, root)
    expect(bundle).toMatchObject({ 'm.thread': { latest_event: { event_id: before } } })
    expect(bundle).not.toHaveProperty('m.replace')
  })
})

describe('the threads of a room', () => {
  const threads = (who: Requester, room: RoomId, more = {}) =>
    server.rooms.threads(who, room, { participated: false, limit: 10, ...more })

  it('come by their latest events, page by page', async () => {
    const room = await roomOf(bob)
    const roots: EventId[] = []
    for (let at = 0; at < 5; at++) roots.push(await say(alice, room, `${at}`))
    for (const root of roots) await reply(alice, room, root)
    const [first = await say(alice, room, 'none')] = roots
    await reply(bob, room, first)
    const order = [first, ...roots.slice(1).toReversed()]
    expect(ids((await threads(alice, room)).chunk)).toEqual(order)
    const page = await threads(alice, room, { limit: 3 })
    expect(ids(page.chunk)).toEqual(order.slice(0, 3))
    const rest = await threads(alice, room, { limit: 2, from: page.next })
    expect(ids(rest.chunk)).toEqual(order.slice(3))
    expect(rest).not.toHaveProperty('next')
    expect(ids((await threads(bob, room, { participated: true })).chunk)).toEqual([first])
  })

  it('move back when their latest event is redacted, and are gone with the last one', async () => {
    const room = await roomOf()
    const [one, two] = [await say(alice, room, 'one'), await say(alice, room, 'two')]
    await reply(alice, room, one)
    const only = await reply(alice, room, two)
    const latest = await reply(alice, room, one)
    expect(ids((await threads(alice, room)).chunk)).toEqual([one, two])
    await server.rooms.redact(alice, room, latest, undefined)
    expect(ids((await threads(alice, room)).chunk)).toEqual([two, one])
    await server.rooms.redact(alice, room, only, undefined)
    expect(ids((await threads(alice, room)).chunk)).toEqual([one])
  })

  it('show what ignored users began as if it were redacted', async () => {
    const room = await roomOf(bob)
    const root = await say(bob, room, 'unwanted')
    await reply(alice, room, root)
    ignored.set(alice.user, new Set([bob.user]))
    const { chunk } = await threads(alice, room)
    expect(ids(chunk)).toEqual([root])
    expect(chunk.map((seen) => server.rooms.clientEvent(seen, alice)).join()).not.toContain(
      'unwanted',
    )
    ignored.clear()
  })
})

describe('a user', () => {
  it('annotates an event with the same thing once', async () => {
    const room = await roomOf(bob)
    const event = await say(alice, room, 'nice')
    const first = await react(bob, room, event, '+1')
    const again = { errcode: 'M_DUPLICATE_ANNOTATION', status: 400 }
    await expect(react(bob, room, event, '+1')).rejects.toMatchObject(again)
    await react(bob, room, event, '-1')
    await react(alice, room, event, '+1')
    await server.rooms.redact(bob, room, first, undefined)
    await expect(react(bob, room, event, '+1')).resolves.toBeDefined()
  })

  it('is answered the same when the request for an annotation is repeated', async () => {
    const room = await roomOf()
    const event = await say(alice, room, 'nice')
    const draft = {
      ...{ room, type: 'm.reaction', content: relate('m.annotation', event, { key: '+1' }) },
      txn: { device: parseDeviceId('DEVICE'), endpoint: `send ${room}`, txnId: 'again' },
    }
    const first = await server.rooms.send(alice, draft)
    expect(await server.rooms.send(alice, draft)).toBe(first)
  })

  it('begins no thread at what relates to something, and relates nothing to other rooms', async () => {
    const [room, other] = [await roomOf(), await roomOf()]
    const event = await say(alice, room, 'root')
    const related = await refer(alice, room, event)
    const refused = { errcode: 'M_UNKNOWN', status: 400 }
    await expect(reply(alice, room, related)).rejects.toMatchObject(refused)
    await expect(refer(alice, other, event)).rejects.toMatchObject(refused)
    await expect(react(alice, room, event, 'x'.repeat(501))).rejects.toMatchObject({ status: 400 })
  })
})

describe('pages of history', () => {
  it('are filtered by what relates to events, and by what they are related with', async () => {
    const room = await roomOf(bob)
    const [one, two] = [await say(alice, room, 'one'), await say(alice, room, 'two')]
    const thread = await reply(bob, room, one)
    const reference = await refer(alice, room, two)
    const find = async (filter: JsonObject) =>
      ids((await server.rooms.messages(alice, room, { dir: 'f', limit: 50, filter })).chunk)
    expect(await find({ related_by_rel_types: ['m.thread'] })).toEqual([one])
    expect(await find({ related_by_senders: [alice.user] })).toEqual([two])
    expect(
      await find({ related_by_senders: [alice.user], related_by_rel_types: ['m.thread'] }),
    ).toEqual([])
    const messages = { types: ['m.room.message', 'org.reference'] }
    const relTypes = 'org.matrix.msc3874.rel_types'
    expect(await find({ [relTypes]: ['m.thread', 'm.reference'] })).toEqual([thread, reference])
    const not = { ...messages, 'org.matrix.msc3874.not_rel_types': ['m.thread'] }
    expect(await find(not)).toEqual([one, two, reference])
    await server.rooms.redact(bob, room, thread, undefined)
    expect(await find({ related_by_rel_types: ['m.thread'] })).toEqual([])
  })
})

describe('over federation', () => {
  it('relations come with history that is fetched later', async () => {
    const there = await openTestRooms('there.test', network)
    const dora = there.user('dora')
    const room = await roomOf()
    const root = await say(alice, room, 'root')
    const answer = await reply(alice, room, root)
    await there.rooms.join(dora, room, { via: [server.name] })
    await deliver(there, server, room)
    const page = await there.rooms.messages(dora, room, { dir: 'b', limit: 50 })
    expect(ids(page.chunk)).toContain(root)
    const seen = await there.rooms.event(dora, room, root)
    expect(there.rooms.clientEvent(seen, dora)).toContain(answer)
    expect(
      ids((await there.rooms.threads(dora, room, { participated: false, limit: 5 })).chunk),
    ).toEqual([root])
    await there[Symbol.asyncDispose]()
  }, 30_000)
})
