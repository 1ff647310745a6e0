import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseEventId, parseRoomId, parseUserId } from '../../spec/ids.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import { createTestEvents, type TestEvents } from '../receipts/test-events.ts'
import { type TestStream, testStream } from '../stream/test-stream.ts'
import { createThreadSubscriptions, type ThreadSubscriptions } from './thread-subscriptions.ts'

const alice = parseUserId('@alice:here.test')
const bob = parseUserId('@bob:here.test')
const who = (user = alice) => ({ user, guest: false, admin: false })
let database: TestDatabase
let log: TestStream
let events: TestEvents
let threads: ThreadSubscriptions

beforeAll(async () => {
  database = await testDatabase()
  log = testStream(database.db)
  events = createTestEvents(log.writer)
  const found = async (id: StoredEvent['pdu']['eventId']) => {
    const event = (await events.get([id])).get(id)
    if (event === undefined) throw new Error(`no event ${id}`)
    return { event, membership: 'join' }
  }
  threads = createThreadSubscriptions({
    ...{ db: database.db, log: log.writer, tail: log.tail },
    events: { extremities: async () => ({ ids: [], depth: 100 }) },
    rooms: { event: (_who, _room, id) => found(id) },
  })
  await log.start()
})
afterAll(async () => {
  await log[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

async function thread(name: string) {
  const room = parseRoomId(`!${name}:here.test`)
  const root = (await events.send(room, bob, { body: 'root' })).pdu.eventId
  const reply = async () =>
    await events.send(room, bob, { 'm.relates_to': { rel_type: 'm.thread', event_id: root } })
  return { room, root, reply }
}

it('gives the newest changes of a range, each thread once', async () => {
  const [one, two] = [await thread('one'), await thread('two')]
  const before = log.tail.position
  await threads.subscribe(who(), one.room, one.root)
  const between = log.tail.position
  await threads.subscribe(who(), two.room, two.root)
  await threads.unsubscribe(who(), one.room, one.root)
  const all = await threads.changesFor(alice, before, log.tail.position, 10)
  expect(all.map(({ root, subscription }) => [root, subscription])).toEqual([
    [two.root, { automatic: false }],
    [one.root, undefined],
  ])
  expect(await threads.changesFor(alice, before, log.tail.position, 1)).toEqual(all.slice(1))
  expect(await threads.changesFor(alice, before, between, 10)).toEqual([])
  expect(await threads.changesFor(bob, before, log.tail.position, 10)).toEqual([])
})

it('knows who is subscribed, also after a change', async () => {
  const { room, root } = await thread('subscribers')
  expect(await threads.subscribers(room, root)).toEqual(new Set())
  await threads.subscribe(who(), room, root)
  await threads.subscribe(who(bob), room, root)
  expect(await threads.subscribers(room, root)).toEqual(new Set([alice, bob]))
  await threads.unsubscribe(who(), room, root)
  expect(await threads.subscribers(room, root)).toEqual(new Set([bob]))
})

it('writes nothing when nothing changes', async () => {
  const { room, root, reply } = await thread('idle')
  const cause = (await reply()).pdu.eventId
  await threads.unsubscribe(who(), room, root)
  await threads.subscribe(who(), room, root)
  const position = log.tail.position
  await threads.subscribe(who(), room, root)
  await threads.subscribe(who(), room, root, cause)
  expect(log.tail.position).toBe(position)
})

it('lets one of many requests at a time have its way', async () => {
  const { room, root, reply } = await thread('race')
  const cause = (await reply()).pdu.eventId
  const requests = [1, 2, 3, 4].map((n) =>
    threads.subscribe(who(), room, root, n % 2 === 0 ? cause : undefined),
  )
  await Promise.all(requests)
  expect(await threads.get(who(), room, root)).toEqual({ automatic: false })
})

it('compares what was fetched as history with the depth of the room at the time', async () => {
  const { room, root, reply } = await thread('history')
  await threads.subscribe(who(), room, root)
  await threads.unsubscribe(who(), room, root)
  const old = await reply()
  Object.assign(old, { position: -1 })
  await expect(threads.subscribe(who(), room, root, old.pdu.eventId)).rejects.toMatchObject({
    errcode: 'IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION',
  })
  await expect(threads.get(who(), room, parseEventId('$none'))).rejects.toThrow()
})
