import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  parseRoomId,
  parseServerName,
  parseUserId,
  type RoomId,
  type UserId,
} from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { type AccountData, createAccountData } from '../accounts/account-data.ts'
import { createIgnorers, type Ignorers } from '../accounts/ignorers.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { silentLogger } from '../platform/log.ts'
import { createReceipts, type Receipts } from '../receipts/receipts.ts'
import { createTestEvents, type TestEvents } from '../receipts/test-events.ts'
import { type TestMemberships, testMemberships } from '../rooms/test-memberships.ts'
import { type TestStream, testStream } from '../stream/test-stream.ts'
import { createPushRules, type PushRules } from './push-rules.ts'
import { createUnreadCounts, type UnreadCounts } from './unread.ts'

const here = parseServerName('here.test')
const clock = new FakeClock()
let database: TestDatabase
let log: TestStream
let events: TestEvents
let memberships: TestMemberships
let receipts: Receipts
let pushRules: PushRules
let unread: UnreadCounts
let ignorers: Ignorers
let accountData: AccountData

beforeAll(async () => {
  database = await testDatabase()
  log = testStream(database.db)
  memberships = testMemberships(here)
  events = createTestEvents(log.writer)
  const common = { db: database.db, log: log.writer, tail: log.tail, clock, memberships, events }
  pushRules = createPushRules(common)
  accountData = createAccountData({ ...common, pushRules })
  receipts = createReceipts({ ...common, accountData })
  ignorers = createIgnorers(common)
  unread = start()
  await log.start()
})
afterAll(async () => {
  await unread[Symbol.asyncDispose]()
  await log[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

function start(owns = true): UnreadCounts {
  return createUnreadCounts({
    db: database.db,
    tail: log.tail,
    clock,
    log: silentLogger,
    serverName: here,
    memberships,
    events,
    receipts,
    pushRules,
    owns: () => owns,
    ignorers,
    threadSubscribers: async () => new Set([carol]),
  })
}

const who = (user: UserId) => ({ user, guest: false, admin: false })
const alice = parseUserId('@alice:here.test')
const bob = parseUserId('@bob:here.test')
const carol = parseUserId('@carol:here.test')
const say = (room: RoomId, body: string, more: JsonObject = {}) =>
  events.send(room, bob, { msgtype: 'm.text', body, ...more })
const inThread = (root: string) => ({ 'm.relates_to': { rel_type: 'm.thread', event_id: root } })

function roomOf(name: string, users: readonly UserId[] = [alice, bob, carol]): RoomId {
  const room = parseRoomId(`!${name}:here.test`)
  for (const user of users) memberships.set(room, user, 'join', log.tail.position)
  return room
}

async function counts(user: UserId, room: RoomId, from = unread) {
  const found = (await from.of(user, [room])).get(room)
  return { notify: found?.total.notify, highlight: found?.total.highlight }
}

it('counts what others say until it is read', async () => {
  const room = roomOf('simple')
  await say(room, 'one')
  const second = await say(room, 'two')
  expect(await counts(alice, room)).toEqual({ notify: 2, highlight: 0 })
  expect(await counts(bob, room)).toEqual({ notify: 0, highlight: 0 })
  await receipts.mark(who(alice), room, 'm.read', second.pdu.eventId)
  expect(await counts(alice, room)).toEqual({ notify: 0, highlight: 0 })
  expect(await counts(carol, room)).toEqual({ notify: 2, highlight: 0 })
  await say(room, 'three')
  expect(await counts(alice, room)).toEqual({ notify: 1, highlight: 0 })
})

it('counts again what lies behind a receipt in the middle, and privately read is read', async () => {
  const room = roomOf('middle')
  const first = await say(room, 'one')
  const second = await say(room, 'two')
  await say(room, 'three')
  expect(await counts(alice, room)).toEqual({ notify: 3, highlight: 0 })
  await receipts.mark(who(alice), room, 'm.read.private', second.pdu.eventId)
  expect(await counts(alice, room)).toEqual({ notify: 1, highlight: 0 })
  await receipts.mark(who(alice), room, 'm.read', first.pdu.eventId)
  expect(await counts(alice, room)).toEqual({ notify: 1, highlight: 0 })
})

it('highlights mentions, names and words, and leaves state and reactions out', async () => {
  const room = roomOf('mentions')
  await say(room, 'hello', { 'm.mentions': { user_ids: [alice] } })
  expect(await counts(alice, room)).toEqual({ notify: 1, highlight: 1 })
  expect(await counts(carol, room)).toEqual({ notify: 1, highlight: 0 })
  await events.send(room, bob, { body: 'all', 'm.mentions': { room: true } })
  expect(await counts(alice, room)).toEqual({ notify: 2, highlight: 1 })
  await pushRules.put(
    carol,
    { kind: 'content', ruleId: 'cake' },
    {
      pattern: 'cake',
      actions: ['notify', { set_tweak: 'highlight' }],
    },
  )
  await say(room, 'there is cake')
  expect(await counts(carol, room)).toEqual({ notify: 3, highlight: 1 })
  await events.send(room, bob, { name: 'x' }, { type: 'm.room.name', stateKey: '' })
  await events.send(
    room,
    bob,
    { 'm.relates_to': { rel_type: 'm.annotation', key: 'x' } },
    { type: 'm.reaction' },
  )
  expect(await counts(alice, room)).toEqual({ notify: 3, highlight: 1 })
})

it('counts threads apart', async () => {
  const room = roomOf('threads')
  const root = await say(room, 'root')
  const reply = await say(room, 'reply', inThread(root.pdu.eventId))
  await say(room, 'after')
  const found = (await unread.of(alice, [room])).get(room)
  expect(found?.total).toEqual({ notify: 3, highlight: 0 })
  expect(found?.main).toEqual({ notify: 2, highlight: 0 })
  expect(found?.threads).toEqual(new Map([[root.pdu.eventId, { notify: 1, highlight: 0 }]]))
  await receipts.mark(who(alice), room, 'm.read', reply.pdu.eventId, root.pdu.eventId)
  expect(await counts(alice, room)).toEqual({ notify: 2, highlight: 0 })
  await receipts.mark(who(alice), room, 'm.read', root.pdu.eventId, 'main')
  expect(await counts(alice, room)).toEqual({ notify: 1, highlight: 0 })
})

it('takes what a user says as read up to there', async () => {
  const room = roomOf('speaking')
  await say(room, 'question')
  expect(await counts(alice, room)).toEqual({ notify: 1, highlight: 0 })
  await events.send(room, alice, { msgtype: 'm.text', body: 'answer' })
  expect(await counts(alice, room)).toEqual({ notify: 0, highlight: 0 })
})

it('goes on where it was after a start, also when it had stored nothing of the last events', async () => {
  const room = roomOf('restart')
  await say(room, 'stored')
  expect(await counts(alice, room)).toEqual({ notify: 1, highlight: 0 })
  await unread.flush()
  const last = await say(room, 'not stored')
  const later = start()
  expect(await counts(alice, room, later)).toEqual({ notify: 2, highlight: 0 })
  await receipts.mark(who(alice), room, 'm.read', last.pdu.eventId)
  const latest = start(false)
  expect(await counts(alice, room, latest)).toEqual({ notify: 0, highlight: 0 })
  expect(await counts(carol, room, latest)).toEqual({ notify: 2, highlight: 0 })
  await later[Symbol.asyncDispose]()
  await latest[Symbol.asyncDispose]()
})

it('starts anew for a user who comes back', async () => {
  const room = roomOf('return')
  const root = await say(room, 'before')
  await say(room, 'in a thread', inThread(root.pdu.eventId))
  expect(await counts(alice, room)).toEqual({ notify: 2, highlight: 0 })
  const join = await events.send(
    room,
    alice,
    { membership: 'join' },
    { type: 'm.room.member', stateKey: alice },
  )
  memberships.set(room, alice, 'join', join.position)
  expect(await counts(alice, room)).toEqual({ notify: 0, highlight: 0 })
})

it('counts an event for a crowd of 1,000 as cheaply as for one', async () => {
  const room = roomOf('crowd', [])
  const crowd = Array.from({ length: 1000 }, (_, n) => parseUserId(`@member${n}:here.test`))
  for (const user of crowd) memberships.set(room, user, 'join', 1, `Member ${user}`)
  await unread.of(alice, [room])
  for (let n = 0; n < 1000; n += 250) {
    await Promise.all(
      Array.from({ length: 250 }, (_, k) => say(room, `message ${n + k} of a busy room`)),
    )
  }
  const [first = alice, second = alice] = crowd
  const before = process.cpuUsage()
  expect(await counts(first, room)).toEqual({ notify: 1000, highlight: 0 })
  const { user, system } = process.cpuUsage(before)
  // 1,000 events for 1,000 members: a millisecond each would be a thousand times too much.
  expect((user + system) / 1000).toBeLessThan(500)
  expect(await counts(second, room)).toEqual({ notify: 1000, highlight: 0 })
})

it('counts threads by who is subscribed, for those who turned the rules about that on', async () => {
  const room = roomOf('subscribed')
  for (const user of [alice, carol]) {
    for (const which of ['subscribed', 'unsubscribed']) {
      const ruleId = `.io.element.msc4306.rule.${which}_thread`
      await pushRules.setEnabled(user, { kind: 'postcontent', ruleId }, true)
    }
  }
  const root = await say(room, 'root')
  await say(room, 'in the thread', inThread(root.pdu.eventId))
  expect(await counts(alice, room)).toEqual({ notify: 1, highlight: 0 })
  expect(await counts(carol, room)).toEqual({ notify: 2, highlight: 0 })
})

it('counts nothing of whom a user ignores, from then on', async () => {
  const room = roomOf('ignoring')
  await say(room, 'one')
  expect(await counts(alice, room)).toEqual({ notify: 1, highlight: 0 })
  await accountData.set(alice, 'm.ignored_user_list', { ignored_users: { [bob]: {} } })
  await say(room, 'two', { 'm.mentions': { user_ids: [alice] } })
  await events.send(room, carol, { msgtype: 'm.text', body: 'three' })
  expect(await counts(alice, room)).toEqual({ notify: 2, highlight: 0 })
  await accountData.set(alice, 'm.ignored_user_list', { ignored_users: {} })
  await say(room, 'four')
  expect(await counts(alice, room)).toEqual({ notify: 3, highlight: 0 })
})

it('takes back what is redacted, from those who have not read it', async () => {
  const room = roomOf('redactions')
  const first = await say(room, 'one', { 'm.mentions': { user_ids: [alice] } })
  const second = await say(room, 'two')
  await say(room, 'three')
  await receipts.mark(who(carol), room, 'm.read', second.pdu.eventId)
  expect(await counts(alice, room)).toEqual({ notify: 3, highlight: 1 })
  expect(await counts(carol, room)).toEqual({ notify: 1, highlight: 0 })
  await events.redact(first)
  expect(await counts(alice, room)).toEqual({ notify: 2, highlight: 0 })
  expect(await counts(carol, room)).toEqual({ notify: 1, highlight: 0 })
  await using again = start()
  expect(await counts(alice, room, again)).toEqual({ notify: 2, highlight: 0 })
})
