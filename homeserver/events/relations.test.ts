import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type EventId, parseUserId, type RoomId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import type { StoredEvent } from './stored-event.ts'
import { testRoom } from './test-events.ts'
import { acquainted, openTestProcess, type TestProcess } from './test-processes.ts'
import { mayBeReadIn, threadRootOf } from './threading.ts'

const alice = parseUserId('@alice:one.test')
let database: TestDatabase
let a: TestProcess
let b: TestProcess

beforeAll(async () => {
  database = await testDatabase()
  a = await openTestProcess('one.test', database)
  b = await openTestProcess('one.test', database)
  await Promise.all([a.start(), b.start()])
  await acquainted(a, b)
}, 60_000)
afterAll(async () => {
  await a[Symbol.asyncDispose]()
  await b[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

function send(room: RoomId, content: JsonObject, type = 'm.room.message', redacts?: EventId) {
  const draft = { type, sender: alice, content, ...(redacts !== undefined && { redacts }) }
  return a.events.append(room, () => ({ kind: 'append', draft }))
}

const relate = (room: RoomId, rel_type: string, { pdu }: StoredEvent, more: JsonObject = {}) =>
  send(room, { 'm.relates_to': { rel_type, event_id: pdu.eventId }, ...more })

/** What a process knows of an event, when it has seen all that was written. */
async function seenBy({ events, stream }: TestProcess, { pdu }: StoredEvent) {
  await stream.tail.catchUp()
  const event = (await events.get([pdu.eventId])).get(pdu.eventId)
  if (event === undefined) throw new Error('no event')
  return (await events.relations.aggregates([event])).get(pdu.eventId)
}

const summary = ({ pdu }: StoredEvent, count: number) => ({
  latest: pdu.eventId,
  place: { depth: pdu.depth, arrival: expect.any(Number) },
  countedTo: expect.any(Number),
  counts: new Map([[alice, count]]),
})

describe('what relates to an event', () => {
  it('is counted on as it comes, as often as it is', async () => {
    const room = await testRoom(a, alice)
    const other = await testRoom(a, alice)
    const root = await send(room, { body: 'root' })
    const content = { 'm.relates_to': { rel_type: 'm.thread', event_id: root.pdu.eventId } }
    const state = { type: 'org.state', stateKey: '', sender: alice, content }
    let last = root
    for (let count = 1; count < 6; count++) {
      last = await relate(room, 'm.thread', root)
      await relate(room, 'm.annotation', root)
      await relate(other, 'm.thread', root)
      if (count === 3) await a.events.append(room, () => ({ kind: 'append', draft: state }))
      expect(await seenBy(a, root)).toEqual({ thread: summary(last, count) })
      if (count % 2 === 0) await send(room, { body: 'between' })
      else expect(await seenBy(b, root)).toEqual({ thread: summary(last, count) })
    }
    await Promise.all(Array.from({ length: 10 }, () => relate(room, 'm.thread', root)))
    for (const process of [a, b]) {
      const thread = (await seenBy(process, root))?.thread
      expect(thread?.counts).toEqual(new Map([[alice, 15]]))
    }
  })

  it('is the same in every process, whichever wrote it, and after it was redacted', async () => {
    const room = await testRoom(a, alice)
    const root = await send(room, { body: 'root' })
    expect(await seenBy(a, root)).toBeUndefined()
    expect(await seenBy(b, root)).toBeUndefined()
    const first = await relate(room, 'm.thread', root)
    const second = await relate(room, 'm.thread', root)
    for (const process of [a, b]) {
      expect(await seenBy(process, root)).toEqual({
        thread: summary(second, 2),
      })
    }
    await send(room, {}, 'm.room.redaction', second.pdu.eventId)
    for (const process of [a, b]) {
      await expect
        .poll(() => seenBy(process, root), { timeout: 10_000 })
        .toEqual({ thread: summary(first, 1) })
    }
  })

  it('is known of events from before a process started', async () => {
    const room = await testRoom(a, alice)
    const root = await send(room, { body: 'root' })
    const edit = await relate(room, 'm.replace', root, { 'm.new_content': {} })
    const plain = await send(room, { body: 'plain' })
    const late = await openTestProcess('one.test', database)
    await late.start()
    expect(await seenBy(late, root)).toEqual({ edit: edit.pdu.eventId })
    expect(await seenBy(late, plain)).toBeUndefined()
    const newer = await relate(room, 'm.replace', root, { 'm.new_content': {} })
    await relate(room, 'm.reference', plain)
    const edits = [edit, newer].map(({ pdu }) => [pdu.originServerTs, pdu.eventId] as const)
    const newest = edits.sort((x, y) => x[0] - y[0] || (x[1] < y[1] ? -1 : 1)).at(-1)?.[1]
    expect(await seenBy(late, root)).toEqual({ edit: newest })
    expect(await seenBy(late, plain)).toMatchObject({ references: [{ sender: alice }] })
    await late[Symbol.asyncDispose]()
  }, 30_000)

  it('costs no statement for events that arrived while the process was running', async () => {
    const room = await testRoom(a, alice)
    const events: StoredEvent[] = []
    for (let at = 0; at < 5; at++) events.push(await send(room, { body: `${at}` }))
    await a.stream.tail.catchUp()
    const stored = [...(await a.events.get(events.map(({ pdu }) => pdu.eventId))).values()]
    const { db } = a.database
    const query = db.query
    let statements = 0
    db.query = async <T extends object>(sql: string, values: readonly unknown[]) => {
      statements++
      return await query.call<typeof db, [string, readonly unknown[]], Promise<T[]>>(
        db,
        sql,
        values,
      )
    }
    try {
      expect((await a.events.relations.aggregates(stored)).size).toBe(0)
    } finally {
      db.query = query
    }
    expect(statements).toBe(0)
  })

  it('may be said in words that the database does not keep', async () => {
    const room = await testRoom(a, alice)
    const root = await send(room, { body: 'root' })
    const long = 'x'.repeat(10_000)
    for (const type of [long, 'nul\u0000']) {
      await expect(relate(room, type, root)).resolves.toBeDefined()
    }
    const { relations } = a.events
    const { eventId } = root.pdu
    const range = { dir: 'b', limit: 10, recurse: false } as const
    expect(await relations.related(room, eventId, range)).toEqual([])
    const nul = { relType: 'nul\u0000', eventType: 'nul\u0000' }
    expect(await relations.related(room, eventId, { ...range, ...nul })).toEqual([])
    expect(await relations.keepRelated([root], { relTypes: [nul.relType] })).toEqual([])
    const annotation = { sender: alice, type: 'm.reaction', key: 'nul\u0000' }
    expect(await relations.hasAnnotated(eventId, annotation)).toBe(false)
  })
})

describe('the list of threads', () => {
  it('goes on after the history was purged in which a thread began', async () => {
    const room = await testRoom(a, alice)
    const old = await send(room, { body: 'old' })
    await relate(room, 'm.thread', old)
    const root = await send(room, { body: 'root' })
    await relate(room, 'm.thread', root)
    const gone = await send(room, { body: 'gone' })
    const reply = await relate(room, 'm.thread', gone)
    const { db } = database
    const purged = [old, gone, reply].map(({ pdu }) => pdu.eventId)
    await db.query('delete from events where event_id = any($1)', [purged])
    await db.query('delete from event_relations where event_id = any($1)', [purged])
    const late = await openTestProcess('one.test', database)
    await late.start()
    await late.stream.tail.catchUp()
    const { found } = await late.events.relations.threads(room, undefined, 10)
    expect(found.map((thread) => thread.root.pdu.eventId)).toEqual([root.pdu.eventId])
    const left = await db.query<{ root: string }>('select root from threads where room_id = $1', [
      room,
    ])
    expect(left.map((row) => row.root).sort()).toEqual([old.pdu.eventId, root.pdu.eventId].sort())
    await late[Symbol.asyncDispose]()
  }, 30_000)
})

describe('what another room says of an event', () => {
  it('is nothing, there and here', async () => {
    const [room, other] = [await testRoom(a, alice), await testRoom(a, alice)]
    const root = await send(room, { body: 'root' })
    await relate(other, 'm.thread', root)
    await relate(other, 'm.replace', root, { 'm.new_content': {} })
    await relate(other, 'm.reference', root)
    const { relations } = a.events
    const range = { dir: 'b', limit: 10, recurse: false } as const
    expect(await seenBy(a, root)).toBeUndefined()
    expect(await relations.related(room, root.pdu.eventId, range)).toEqual([])
    expect(await relations.keepRelated([root], {})).toEqual([])
    const own = await relate(room, 'm.thread', root)
    expect(await seenBy(a, root)).toEqual({ thread: summary(own, 1) })
    expect((await relations.threads(other, undefined, 10)).found).toEqual([])
    expect((await relations.threads(room, undefined, 10)).found).toHaveLength(1)
  })
})

describe('an event is in a thread', () => {
  it('by itself, or by what it relates to, over three steps', async () => {
    const room = await testRoom(a, alice)
    const root = await send(room, { body: 'root' })
    const chain = [await relate(room, 'm.thread', root)]
    for (let at = 0; at < 4; at++) {
      chain.push(await relate(room, 'm.reference', chain[at] ?? root))
    }
    const roots = await Promise.all(chain.map((event) => threadRootOf(a.events, event)))
    const { eventId } = root.pdu
    expect(roots).toEqual([eventId, eventId, eventId, eventId, undefined])
    const beside = await relate(room, 'm.annotation', root)
    expect(await threadRootOf(a.events, beside)).toBeUndefined()
    expect(await mayBeReadIn(a.events, beside, eventId)).toBe(true)
    expect(await mayBeReadIn(a.events, beside, 'main')).toBe(true)
    expect(await mayBeReadIn(a.events, root, eventId)).toBe(true)
  })
})
