import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseUserId, type ServerName } from '../../spec/ids.ts'
import type { Events } from './events.ts'
import { joinOver, openTestServer, setState, type TestServer, testRoom } from './test-events.ts'

const alice = parseUserId('@alice:a.test')
const bob = parseUserId('@bob:b.test')
const peers = new Map<ServerName, Events>()

let a: TestServer
let b: TestServer

beforeAll(async () => {
  a = await openTestServer('a.test', peers)
  b = await openTestServer('b.test', peers)
}, 60_000)
afterAll(async () => {
  await a[Symbol.asyncDispose]()
  await b[Symbol.asyncDispose]()
})

describe('changes of one key of the state', () => {
  it('follow each other before any of them is stored', async () => {
    const room = await testRoom(a, alice)
    const topics = Array.from({ length: 20 }, (_, at) => ({ topic: `${at}` }))
    await Promise.all(topics.map((topic) => setState(a, room, alice, 'm.room.topic', '', topic)))
    const topic = await a.events.currentEntry(room, 'm.room.topic', '')
    expect(topic?.pdu.content).toEqual({ topic: '19' })
  })

  it('come together as history of another server', async () => {
    const room = await testRoom(a, alice)
    for (const topic of ['one', 'two', 'three']) {
      await setState(a, room, alice, 'm.room.topic', '', { topic })
    }
    const { event: join } = await joinOver(b, a, room, bob)
    const before = { depth: join.pdu.depth, arrival: join.position ?? 0 }
    expect(await b.events.backfill(room, before, 100)).toBeGreaterThan(3)
    const history = await b.events.history(room, { dir: 'b', limit: 100 })
    const topics = history.flatMap(({ pdu }) => pdu.content['topic'] ?? [])
    expect(topics).toEqual(['three', 'two', 'one'])
  })
})
