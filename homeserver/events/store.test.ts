import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseUserId } from '../../spec/ids.ts'
import { createEventStore } from './store.ts'
import { openTestServer, say, type TestServer, testRoom } from './test-events.ts'

const alice = parseUserId('@alice:a.test')
let server: TestServer
beforeAll(async () => {
  server = await openTestServer('a.test')
}, 60_000)
afterAll(() => server[Symbol.asyncDispose]())

const newStore = () => createEventStore({ db: server.database.db })

it('has one object of each event, however it was asked for', async () => {
  const room = await testRoom(server, alice)
  const { nr, pdu } = await say(server, room, alice, 'one')
  const store = newStore()
  const byNumber = (await store.byNumber([nr])).get(nr)
  expect(byNumber?.pdu.eventId).toBe(pdu.eventId)
  expect(store.peek(pdu.eventId)).toBe(byNumber)
  const other = newStore()
  const byId = (await other.get([pdu.eventId])).get(pdu.eventId)
  expect(other.peekNumber(nr)).toBe(byId)
})

it('learns by its id of a redaction of what it may know by its number alone', async () => {
  const room = await testRoom(server, alice)
  const { nr, pdu } = await say(server, room, alice, 'to be redacted')
  const store = newStore()
  await store.byNumber([nr])
  const redacts = pdu.eventId
  const draft = { type: 'm.room.redaction', sender: alice, content: { redacts }, redacts }
  const redaction = await server.events.append(room, () => ({ kind: 'append', draft }))
  await store.refresh(pdu.eventId)
  expect(store.peekNumber(nr)?.redactedBy).toBe(redaction.pdu.eventId)
})

it('shares nothing of a load during which something has changed', async () => {
  const room = await testRoom(server, alice)
  const { nr, pdu } = await say(server, room, alice, 'purged meanwhile')
  const store = newStore()
  const loading = store.byNumber([nr])
  await Promise.resolve()
  store.forget(nr, pdu.eventId)
  await loading
  expect(store.peek(pdu.eventId)).toBeUndefined()
})

it('keeps an event that got its place while an older row of it was on its way', async () => {
  const room = await testRoom(server, alice)
  const event = await say(server, room, alice, 'read and then changed')
  const { db } = server.database
  let isRead = () => {}
  let answer = () => {}
  const read = new Promise<void>((resolve) => (isRead = resolve))
  const answered = new Promise<void>((resolve) => (answer = resolve))
  const query: typeof db.query = async (sql, values) => {
    const rows = await db.query(sql, values)
    isRead()
    await answered
    return rows as never
  }
  const slow = new Proxy(db, {
    get: (target, name) => (name === 'query' ? query : Reflect.get(target, name)),
  })
  const store = createEventStore({ db: slow })
  const loading = store.byNumber([event.nr])
  await read
  // As one that had no place before, and was given one.
  const changed = { ...event, position: (event.position ?? 0) + 1 }
  store.put(changed)
  answer()
  await loading
  expect(store.peek(event.pdu.eventId)).toBe(changed)
  expect(store.peekNumber(event.nr)).toBe(changed)
})
