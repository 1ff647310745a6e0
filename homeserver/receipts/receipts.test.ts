import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type EventId,
  parseEventId,
  parseRoomId,
  parseServerName,
  parseUserId,
} from '../../spec/ids.ts'
import { createAccountData } from '../accounts/account-data.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { createPushRules } from '../notifications/push-rules.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { type TestMemberships, testMemberships } from '../rooms/test-memberships.ts'
import type { LogRow } from '../stream/log.ts'
import { type TestStream, testStream } from '../stream/test-stream.ts'
import { createReceipts, type Receipts } from './receipts.ts'
import { createTestEvents, type TestEvents } from './test-events.ts'

const here = parseServerName('here.test')
const far = parseServerName('far.test')
const alice = { user: parseUserId('@alice:here.test'), guest: false, admin: false }
const bob = { user: parseUserId('@bob:here.test'), guest: false, admin: false }
const room = parseRoomId('!room:here.test')

let database: TestDatabase
let log: TestStream
let events: TestEvents
let memberships: TestMemberships
let receipts: Receipts
let accountData: ReturnType<typeof createAccountData>
let rows: LogRow[] = []
const clock = new FakeClock()

beforeAll(async () => {
  database = await testDatabase()
  log = testStream(database.db)
  memberships = testMemberships(here)
  events = createTestEvents(log.writer)
  const common = { db: database.db, log: log.writer, tail: log.tail, clock, memberships, events }
  accountData = createAccountData({ ...common, pushRules: createPushRules(common) })
  receipts = createReceipts({ ...common, accountData })
  log.tail.subscribe('test', (more) => rows.push(...more))
  await log.start()
  for (const { user } of [alice, bob]) memberships.set(room, user, 'join')
})
beforeEach(() => {
  rows = []
})
afterAll(async () => {
  await log[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

async function sent(n: number): Promise<EventId[]> {
  const ids: EventId[] = []
  for (let k = 0; k < n; k++)
    ids.push((await events.send(room, bob.user, { body: 'x' })).pdu.eventId)
  return ids
}

describe('a receipt', () => {
  it('is told by the log and stands in the content of the room', async () => {
    const [event = parseEventId('$none')] = await sent(1)
    const before = log.tail.position
    await receipts.mark(alice, room, 'm.read', event)
    const content = { [event]: { 'm.read': { [alice.user]: { ts: clock.now() } } } }
    const range = { after: before, upTo: log.tail.position, viewer: bob.user }
    expect((await receipts.since([room], range)).get(room)).toEqual(content)
    expect(receipts.contentOf(rows, bob.user)).toEqual(content)
    expect((await receipts.since([room], { ...range, after: range.upTo })).size).toBe(0)
  })

  it('does not move backwards, nor twice to the same event', async () => {
    const [first = parseEventId('$none'), second = parseEventId('$none')] = await sent(2)
    await receipts.mark(alice, room, 'm.read', second)
    const before = log.tail.position
    await receipts.mark(alice, room, 'm.read', first)
    await receipts.mark(alice, room, 'm.read', second)
    expect(log.tail.position).toBe(before)
    expect((await receipts.ofUser(room, alice.user)).map((one) => one.event_id)).toEqual([second])
  })

  it('that is private is shown to its own user alone', async () => {
    const [event = parseEventId('$none')] = await sent(1)
    const before = log.tail.position
    await receipts.mark(alice, room, 'm.read.private', event)
    const range = { after: before, upTo: log.tail.position }
    expect((await receipts.since([room], { ...range, viewer: bob.user })).size).toBe(0)
    expect((await receipts.since([room], { ...range, viewer: alice.user })).size).toBe(1)
    expect(receipts.contentOf(rows, bob.user)).toBeUndefined()
    expect(receipts.contentOf(rows, alice.user)).toHaveProperty([
      event,
      'm.read.private',
      alice.user,
    ])
  })

  it('of a thread stands beside that of the room', async () => {
    const [root = parseEventId('$none'), other = parseEventId('$none')] = await sent(2)
    const inThread = { 'm.relates_to': { rel_type: 'm.thread', event_id: root } }
    const reply = (await events.send(room, bob.user, inThread)).pdu.eventId
    const onReply = { 'm.relates_to': { rel_type: 'm.annotation', event_id: reply, key: 'x' } }
    const reaction = (await events.send(room, bob.user, onReply)).pdu.eventId
    const before = log.tail.position
    await receipts.mark(bob, room, 'm.read', root)
    await receipts.mark(bob, room, 'm.read', root, root)
    await receipts.mark(bob, room, 'm.read', reply, root)
    await receipts.mark(bob, room, 'm.read', reaction, root)
    await receipts.mark(bob, room, 'm.read', other, 'main')
    const content = (
      await receipts.since([room], { after: before, upTo: log.tail.position, viewer: bob.user })
    ).get(room)
    expect(content).toHaveProperty([root, 'm.read', bob.user])
    expect(content).toHaveProperty([reaction, 'm.read', bob.user, 'thread_id'])
    const refused = { errcode: 'M_INVALID_PARAM' }
    for (const [event, thread] of [
      [reply, 'nonsense'],
      [reply, 'main'],
      [reaction, 'main'],
      [other, root],
    ] as const) {
      await expect(receipts.mark(bob, room, 'm.read', event, thread)).rejects.toMatchObject(refused)
    }
  })

  it('of the room is shown where one of a thread is on the same event', async () => {
    const [event = parseEventId('$none')] = await sent(1)
    const content = async (
      mark: (thread?: string) => Promise<void>,
      order: (string | undefined)[],
    ) => {
      const before = log.tail.position
      for (const thread of order) await mark(thread)
      const range = { after: before, upTo: log.tail.position, viewer: bob.user }
      return (await receipts.since([room], range)).get(room)
    }
    const carol = { ...alice, user: parseUserId('@carol:here.test') }
    const dora = { ...alice, user: parseUserId('@dora:here.test') }
    for (const [who, order] of [
      [carol, [undefined, 'main']],
      [dora, ['main', undefined]],
    ] as const) {
      memberships.set(room, who.user, 'join')
      rows = []
      const mark = (thread?: string) => receipts.mark(who, room, 'm.read', event, thread)
      const expected = { [event]: { 'm.read': { [who.user]: { ts: clock.now() } } } }
      expect(await content(mark, [...order])).toEqual(expected)
      expect(receipts.contentOf(rows, bob.user)).toEqual(expected)
    }
  })

  it('is refused outside the room', async () => {
    const stranger = { ...alice, user: parseUserId('@stranger:here.test') }
    await expect(receipts.mark(stranger, room, 'm.read', parseEventId('$x'))).rejects.toMatchObject(
      {
        errcode: 'M_FORBIDDEN',
      },
    )
  })

  it('called m.fully_read is account data, and does not move backwards either', async () => {
    const [first = parseEventId('$none'), second = parseEventId('$none')] = await sent(2)
    await receipts.mark(alice, room, 'm.fully_read', second)
    await receipts.mark(alice, room, 'm.fully_read', first)
    expect(await accountData.getRoom(alice.user, room, 'm.fully_read')).toEqual({
      event_id: second,
    })
  })
})

describe('receipts of another server', () => {
  it('are taken for its own users in the room', async () => {
    const [event = parseEventId('$none')] = await sent(1)
    const dave = parseUserId('@dave:far.test')
    memberships.set(room, dave, 'join')
    const one = { event_ids: [event], data: { ts: 5 } }
    const before = log.tail.position
    await receipts.onRemoteReceipts(far, room, {
      'm.read': { [dave]: one, [alice.user]: one, [parseUserId('@out:far.test')]: one },
      'm.read.private': { [dave]: one },
    })
    const content = await receipts.since([room], {
      after: before,
      upTo: log.tail.position,
      viewer: dave,
    })
    expect(content.get(room)).toEqual({ [event]: { 'm.read': { [dave]: { ts: 5 } } } })
  })

  it('do not move backwards, and are no row of the log when they say nothing new', async () => {
    const [first = parseEventId('$none'), second = parseEventId('$none')] = await sent(2)
    const erin = parseUserId('@erin:far.test')
    memberships.set(room, erin, 'join')
    const read = (event: EventId, thread_id?: string) =>
      receipts.onRemoteReceipts(far, room, {
        'm.read': {
          [erin]: { event_ids: [event], data: { ts: 5, ...(thread_id && { thread_id }) } },
        },
      })
    await read(second)
    const before = log.tail.position
    await read(first)
    await read(second)
    expect(log.tail.position).toBe(before)
    await read(first, 'main')
    expect(log.tail.position).toBeGreaterThan(before)
    expect((await receipts.ofUser(room, erin)).map((one) => one.event_id).toSorted()).toEqual(
      [first, second].toSorted(),
    )
  })
})
