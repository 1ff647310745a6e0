import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { stateKeyOf } from '../../spec/events/event.ts'
import { parseDeviceId, parseUserId, type RoomId } from '../../spec/ids.ts'
import {
  forge,
  joinOver,
  openTestServer,
  say,
  setState,
  type TestServer,
  testRoom,
} from './test-events.ts'

const alice = parseUserId('@alice:a.test')
const bob = parseUserId('@bob:b.test')

let a: TestServer
let b: TestServer

beforeAll(async () => {
  const peers = new Map()
  a = await openTestServer('a.test', peers)
  b = await openTestServer('b.test', peers)
}, 60_000)
afterAll(async () => {
  await a[Symbol.asyncDispose]()
  await b[Symbol.asyncDispose]()
})

const live = async (server: TestServer, room: RoomId, limit = 100) =>
  (await server.events.timeline(room, { after: 0, upTo: Number.MAX_SAFE_INTEGER, limit })).events

/** Hands everything of one server's room to the other, as its sender would. */
async function deliver(from: TestServer, to: TestServer, room: RoomId) {
  const events = (await live(from, room)).filter(({ pdu }) => pdu.sender.endsWith(from.name))
  return await to.events.receive(
    from.name,
    room,
    events.map(({ pdu }) => pdu.json),
  )
}

const state = async (server: TestServer, room: RoomId) =>
  Object.fromEntries(
    [...(await server.events.currentState(room))].map(([key, { pdu }]) => [key, pdu.eventId]),
  )

describe.each(['10', '11', '12'])('in a room of version %s', (version) => {
  it('makes a room whose events are in order and in its state', async () => {
    const room = await testRoom(a, alice, version)
    const events = await live(a, room)
    expect(events.map(({ pdu }) => pdu.type)).toEqual([
      'm.room.create',
      'm.room.member',
      'm.room.power_levels',
      'm.room.join_rules',
      'm.room.history_visibility',
    ])
    expect((await a.events.currentState(room)).size).toBe(5)
  })

  it('chains concurrent messages one after the other', async () => {
    const room = await testRoom(a, alice, version)
    const sent = await Promise.all(
      Array.from({ length: 40 }, (_, at) => say(a, room, alice, `${at}`)),
    )
    const events = (await live(a, room)).slice(5)
    expect(events.map(({ pdu }) => pdu.content['body'])).toEqual(
      sent.map(({ pdu }) => pdu.content['body']),
    )
    for (const [at, event] of events.entries()) {
      if (at > 0) expect(event.pdu.prevEvents).toEqual([events[at - 1]?.pdu.eventId])
    }
  })

  it('lets a user of another server in and takes events both ways', async () => {
    const room = await testRoom(a, alice, version)
    await say(a, room, alice, 'before')
    const { receipts } = await joinOver(b, a, room, bob)
    expect([...receipts.values()]).toEqual([{ kind: 'accepted' }])
    await say(a, room, alice, 'from a')
    await deliver(a, b, room)
    await say(b, room, bob, 'from b')
    await deliver(b, a, room)
    const bodies = (await live(a, room)).map(({ pdu }) => pdu.content['body']).filter(Boolean)
    expect(bodies).toEqual(['before', 'from a', 'from b'])
    expect(await state(b, room)).toEqual(await state(a, room))
  })

  it('comes to one state when both sides wrote apart', async () => {
    const room = await testRoom(a, alice, version)
    await joinOver(b, a, room, bob)
    const levels = { users: version === '12' ? { [bob]: 50 } : { [alice]: 100, [bob]: 50 } }
    await setState(a, room, alice, 'm.room.power_levels', '', levels)
    await deliver(a, b, room)
    await setState(a, room, alice, 'm.room.topic', '', { topic: 'of a' })
    await setState(b, room, bob, 'm.room.topic', '', { topic: 'of b' })
    await setState(b, room, bob, 'm.room.name', '', { name: 'of b' })
    await deliver(a, b, room)
    await deliver(b, a, room)
    expect(await state(b, room)).toEqual(await state(a, room))
    expect((await a.events.extremities(room)).ids).toHaveLength(2)
    await say(a, room, alice, 'together again')
    expect((await a.events.extremities(room)).ids).toHaveLength(1)
  })
})

it('answers a repeated transaction with its first event', async () => {
  const room = await testRoom(a, alice)
  const txn = { user: alice, device: parseDeviceId('D'), endpoint: 'send', txnId: '1' }
  const draft = { type: 'm.room.message', sender: alice, content: { body: 'once' } }
  const send = () => a.events.append(room, () => ({ kind: 'append', draft }), txn)
  const [first, second] = await Promise.all([send(), send()])
  expect(second.pdu.eventId).toBe(first.pdu.eventId)
  expect((await live(a, room)).filter(({ pdu }) => pdu.type === 'm.room.message')).toHaveLength(1)
})

it('refuses what the auth rules refuse and goes on', async () => {
  const room = await testRoom(a, alice)
  const carol = parseUserId('@carol:a.test')
  await expect(say(a, room, carol, 'hello')).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
  await expect(say(a, room, alice, 'still here')).resolves.toBeDefined()
})

it('fills a gap with the events that were not sent', async () => {
  const room = await testRoom(a, alice)
  await joinOver(b, a, room, bob)
  for (let at = 0; at < 5; at++) await say(a, room, alice, `unsent ${at}`)
  const last = await say(a, room, alice, 'sent')
  const receipts = await b.events.receive(a.name, room, [last.pdu.json])
  expect(receipts.get(last.pdu.eventId)).toEqual({ kind: 'accepted' })
  const bodies = (await live(b, room)).map(({ pdu }) => pdu.content['body']).filter(Boolean)
  expect(bodies).toEqual(['unsent 0', 'unsent 1', 'unsent 2', 'unsent 3', 'unsent 4', 'sent'])
})

it('takes the state from the other server when a gap is too wide', async () => {
  const room = await testRoom(a, alice)
  await joinOver(b, a, room, bob)
  await setState(a, room, alice, 'm.room.topic', '', { topic: 'missed' })
  for (let at = 0; at < 30; at++) await say(a, room, alice, `unsent ${at}`)
  const last = await say(a, room, alice, 'sent')
  const receipts = await b.events.receive(a.name, room, [last.pdu.json])
  expect(receipts.get(last.pdu.eventId)).toEqual({ kind: 'accepted' })
  expect(await state(b, room)).toEqual(await state(a, room))
})

it('soft-fails a message from a user who is banned by now', async () => {
  const room = await testRoom(a, alice)
  await joinOver(b, a, room, bob)
  await setState(a, room, alice, 'm.room.member', bob, { membership: 'ban' })
  const late = await say(b, room, bob, 'you cannot stop me')
  const receipts = await a.events.receive(b.name, room, [late.pdu.json])
  expect(receipts.get(late.pdu.eventId)?.kind).toBe('soft-failed')
  const bodies = (await live(a, room)).map(({ pdu }) => pdu.content['body'])
  expect(bodies).not.toContain('you cannot stop me')
})

it('takes a soft-failed message that is sent again when its sender may speak by now', async () => {
  const room = await testRoom(a, alice)
  await joinOver(b, a, room, bob)
  const levels = (events_default: number) =>
    setState(a, room, alice, 'm.room.power_levels', '', { events_default })
  await levels(50)
  const late = await say(b, room, bob, 'am I heard')
  const send = async () =>
    (await a.events.receive(b.name, room, [late.pdu.json])).get(late.pdu.eventId)?.kind
  const heard = async () =>
    (await live(a, room)).filter(({ pdu }) => pdu.eventId === late.pdu.eventId).length
  expect([await send(), await send(), await heard()]).toEqual(['soft-failed', 'soft-failed', 0])
  const allowed = await levels(0)
  expect([await send(), await send(), await heard()]).toEqual(['accepted', 'known', 1])
  const stored = (await a.events.get([late.pdu.eventId])).get(late.pdu.eventId)
  expect(stored?.softFailed).toBe(false)
  expect(stored?.position).toBeGreaterThan(allowed.position ?? Number.MAX_SAFE_INTEGER)
  expect((await a.events.extremities(room)).ids).toContain(late.pdu.eventId)
})

it('takes an event that refers to a soft-failed one, which is no end of the room then or later', async () => {
  const room = await testRoom(a, alice)
  await joinOver(b, a, room, bob)
  const levels = (events_default: number) =>
    setState(a, room, alice, 'm.room.power_levels', '', { events_default })
  await levels(50)
  const late = await say(b, room, bob, 'late')
  await a.events.receive(b.name, room, [late.pdu.json])
  const allowed = await levels(0)
  const { ids } = await a.events.extremities(room)
  expect(ids).toEqual([allowed.pdu.eventId])
  // Another server has it as an end of the room.
  const after = await forge(a, room, {
    ...{ type: 'm.room.message', sender: alice, content: { body: 'after' } },
    prev: [late.pdu.eventId, ...ids],
  })
  const receipts = await a.events.receive(a.name, room, [after.json])
  expect(receipts.get(after.eventId)).toEqual({ kind: 'accepted' })
  expect((await a.events.extremities(room)).ids).toEqual([after.eventId])
  const between = await a.events.missingBetween(room, [], [after.eventId], 2, 0)
  expect(between.map(({ pdu }) => pdu.eventId)).toContain(late.pdu.eventId)
  const again = await a.events.receive(b.name, room, [late.pdu.json])
  expect(again.get(late.pdu.eventId)).toEqual({ kind: 'accepted' })
  expect((await a.events.extremities(room)).ids).toEqual([after.eventId])
})

it('drops an event whose signature is wrong and takes the others', async () => {
  const room = await testRoom(a, alice)
  await joinOver(b, a, room, bob)
  const good = await say(b, room, bob, 'good')
  const forged = { ...good.pdu.json, depth: 99 }
  const receipts = await a.events.receive(b.name, room, [forged, good.pdu.json])
  expect([...receipts.values()].map(({ kind }) => kind).toSorted()).toEqual(['accepted', 'dropped'])
})

it('redacts an event whose content was changed on the way', async () => {
  const room = await testRoom(a, alice)
  await joinOver(b, a, room, bob)
  const sent = await say(b, room, bob, 'honest')
  await a.events.receive(b.name, room, [{ ...sent.pdu.json, content: { body: 'changed' } }])
  const stored = (await a.events.get([sent.pdu.eventId])).get(sent.pdu.eventId)
  expect(stored?.pdu.content).toEqual({})
})

it('fetches history from before the join', async () => {
  const room = await testRoom(a, alice)
  for (let at = 0; at < 10; at++) await say(a, room, alice, `old ${at}`)
  const { event } = await joinOver(b, a, room, bob)
  const point = { depth: event.pdu.depth, arrival: event.position ?? 0 }
  expect(await b.events.backfill(room, point, 100)).toBeGreaterThanOrEqual(10)
  const older = await b.events.history(room, { from: point, dir: 'b', limit: 100 })
  const bodies = older.map(({ pdu }) => pdu.content['body']).filter(Boolean)
  expect(bodies).toEqual(Array.from({ length: 10 }, (_, at) => `old ${9 - at}`))
  const seen = await b.events.visibleTo(bob, older)
  expect(seen.length).toBe(older.length)
})

it('applies a redaction, also to what is in memory', async () => {
  const room = await testRoom(a, alice)
  const target = await say(a, room, alice, 'oops')
  await live(a, room)
  const redaction = await a.events.append(room, () => ({
    kind: 'append',
    draft: { type: 'm.room.redaction', sender: alice, content: {}, redacts: target.pdu.eventId },
  }))
  const shown = (await live(a, room)).find(({ pdu }) => pdu.eventId === target.pdu.eventId)
  expect(shown?.redactedBy).toBe(redaction.pdu.eventId)
})

it('finds what a snapshot held at the time', async () => {
  const room = await testRoom(a, alice)
  await setState(a, room, alice, 'm.room.topic', '', { topic: 'one' })
  const between = await say(a, room, alice, 'between')
  await setState(a, room, alice, 'm.room.topic', '', { topic: 'two' })
  const then = await a.events.stateAt(between.stateBefore ?? 0)
  expect(then.get(stateKeyOf('m.room.topic', ''))?.pdu.content['topic']).toBe('one')
  expect((await a.events.currentEntry(room, 'm.room.topic', ''))?.pdu.content['topic']).toBe('two')
})
