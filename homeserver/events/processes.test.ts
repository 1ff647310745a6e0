import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseDeviceId, parseUserId, type RoomId } from '../../spec/ids.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import type { LocalTxn, TurnPlan } from './events.ts'
import { say, setState, testRoom } from './test-events.ts'
import { acquainted, openTestProcess, type TestProcess } from './test-processes.ts'

const alice = parseUserId('@alice:one.test')
const bob = parseUserId('@bob:one.test')

let database: TestDatabase
let a: TestProcess
let b: TestProcess

beforeAll(async () => {
  database = await testDatabase()
  a = await openTestProcess('one.test', database)
  b = await openTestProcess('one.test', database)
  await Promise.all([a.start(), b.start()])
  await acquainted(a, b)
})
afterAll(async () => {
  await a[Symbol.asyncDispose]()
  await b[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

const message = (body: string): TurnPlan => ({
  kind: 'append',
  draft: { type: 'm.room.message', sender: alice, content: { msgtype: 'm.text', body } },
})

function txn(txnId: string): LocalTxn {
  return { user: alice, device: parseDeviceId('PHONE'), endpoint: 'send', txnId }
}

async function bodies(process: TestProcess, room: RoomId): Promise<unknown[]> {
  await process.stream.tail.catchUp()
  const { events } = await process.events.timeline(room, {
    after: 0,
    upTo: process.stream.tail.position,
    limit: 500,
  })
  return events.map(({ pdu }) => pdu.content['body']).filter((body) => body !== undefined)
}

it('makes one event of a transaction that reaches two processes at the same time', async () => {
  const room = await testRoom(a, alice)
  for (let round = 0; round < 10; round++) {
    const body = `once ${round}`
    const answers = await Promise.all(
      [a, b, a, b].map(({ events }) => events.append(room, () => message(body), txn(body))),
    )
    expect(new Set(answers.map(({ pdu }) => pdu.eventId)).size).toBe(1)
  }
  const expected = Array.from({ length: 10 }, (_, round) => `once ${round}`)
  expect(await bodies(a, room)).toEqual(expected)
  expect(await bodies(b, room)).toEqual(expected)
})

it('answers a repeated transaction as at first, although its sender has left since', async () => {
  const room = await testRoom(a, alice)
  const first = await a.events.append(room, () => message('before'), txn('left'))
  await setState(b, room, alice, 'm.room.member', alice, { membership: 'leave' })
  const again = await b.events.append(room, () => message('before'), txn('left'))
  expect(again.pdu.eventId).toBe(first.pdu.eventId)
})

it('keeps one chain of events when two processes write to a room by turns', async () => {
  const room = await testRoom(a, alice)
  const writers = [a, b, a, b, a, b]
  await Promise.all(
    writers.map(async (process, writer) => {
      for (let n = 0; n < 5; n++) await say(process, room, alice, `${writer} ${n}`)
    }),
  )
  const order = await bodies(a, room)
  expect(order).toHaveLength(30)
  expect(await bodies(b, room)).toEqual(order)
  expect((await b.events.extremities(room)).ids).toHaveLength(1)
})

it('refuses nobody by what it remembers of a room that another process changed', async () => {
  const room = await testRoom(a, alice)
  await say(a, room, alice, 'the first process remembers the room')
  await setState(b, room, bob, 'm.room.member', bob, { membership: 'join' })
  expect((await say(a, room, bob, 'joined through the second')).pdu.sender).toBe(bob)
})

it('does not say "it is so already" by what it remembers', async () => {
  const room = await testRoom(a, alice)
  await setState(a, room, alice, 'm.room.topic', '', { topic: 'old' })
  await setState(b, room, alice, 'm.room.topic', '', { topic: 'new' })
  const event = await a.events.append(room, async (view) => {
    const current = await view.state('m.room.topic', '')
    if (current?.pdu.content['topic'] === 'old') return { kind: 'stay', event: current }
    const content = { topic: 'old' }
    const draft = { type: 'm.room.topic', stateKey: '', sender: alice, content }
    return { kind: 'append', draft }
  })
  expect(event.pdu.content).toEqual({ topic: 'old' })
  expect((await b.events.currentEntry(room, 'm.room.topic', ''))?.pdu.eventId).toBe(
    event.pdu.eventId,
  )
})
