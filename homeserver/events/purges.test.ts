import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseUserId, type RoomId } from '../../spec/ids.ts'
import { openTestServer, say, setState, type TestWorker, testRoom } from './test-events.ts'

const alice = parseUserId('@alice:a.test')

let a: TestWorker

beforeAll(async () => {
  a = await openTestServer('a.test')
}, 60_000)
afterAll(() => a[Symbol.asyncDispose]())

const live = async (room: RoomId, after = 0) =>
  await a.events.timeline(room, { after, upTo: Number.MAX_SAFE_INTEGER, limit: 100 })

const state = async (room: RoomId) =>
  [...(await a.events.currentState(room)).values()].map(({ pdu }) => pdu.eventId).sort()

async function count(table: string, room: RoomId): Promise<number> {
  const rows = await a.database.db.query(`select 1 from ${table} where room_id = $1`, [room])
  return rows.length
}

async function nodes(): Promise<number> {
  const [row] = await a.database.db.query<{ count: number }>(
    'select count(*)::int as count from state_nodes',
    [],
  )
  return row?.count ?? 0
}

/** A room with some talk, and a topic that changes in the middle of it. */
async function talkedIn() {
  const room = await testRoom(a, alice)
  const first = await say(a, room, alice, 'first')
  for (let at = 0; at < 5; at++) {
    await say(a, room, alice, `old ${at}`)
    await setState(a, room, alice, 'm.room.topic', '', { topic: `topic ${at}` })
  }
  const bound = await say(a, room, alice, 'bound')
  await say(a, room, alice, 'new')
  return { room, first, bound }
}

describe('a purge of a history', () => {
  it('takes what came before, and leaves the state and what came after', async () => {
    const { room, first, bound } = await talkedIn()
    const stateBefore = await state(room)
    const before = { event: bound.pdu.eventId }
    const id = await a.events.purges.purgeHistory(room, before, { withLocal: true })
    expect((await a.events.purges.find({ id }))[0]?.status).toBe('active')
    await a.work('events.purge-history')
    expect((await a.events.purges.find({ id }))[0]?.status).toBe('complete')

    expect((await a.events.get([first.pdu.eventId])).size).toBe(0)
    const history = await a.events.history(room, { dir: 'b', limit: 100 })
    expect(history.map(({ pdu }) => pdu.content['body'])).toEqual(['new', 'bound'])
    expect(await state(room)).toEqual(stateBefore)
    await say(a, room, alice, 'and on')
    const levels = await setState(a, room, alice, 'm.room.name', '', { name: 'kept' })
    expect(levels.pdu.content).toEqual({ name: 'kept' })
  })

  it('tells who has not heard of what is gone that something is missing', async () => {
    const { room, first, bound } = await talkedIn()
    const before = { event: bound.pdu.eventId }
    await a.events.purges.purgeHistory(room, before, { withLocal: true })
    await a.work('events.purge-history')
    const { events, limited, isAfterGap } = await live(room, first.position)
    expect(events.map(({ pdu }) => pdu.content['body'])).toEqual(['bound', 'new'])
    expect({ limited, isAfterGap }).toEqual({ limited: true, isAfterGap: true })
    expect((await live(room, bound.position)).limited).toBe(false)
  })

  it('leaves the events of this server’s users when it is not told otherwise', async () => {
    const { room, first, bound } = await talkedIn()
    const before = { event: bound.pdu.eventId }
    await a.events.purges.purgeHistory(room, before, { withLocal: false })
    await a.work('events.purge-history')
    expect((await a.events.get([first.pdu.eventId])).size).toBe(1)
  })

  it('collects the state that nothing refers to any more', async () => {
    const { room, bound } = await talkedIn()
    const before = { event: bound.pdu.eventId }
    await a.events.purges.purgeHistory(room, before, { withLocal: true })
    const full = await nodes()
    await a.work('events.purge-history')
    await a.work('events.collect-state')
    expect(await nodes()).toBeLessThan(full)
    expect(await count('freed_roots', room)).toBe(0)
    // What is left is whole.
    const state = await a.events.stateAt(bound.stateBefore ?? 0)
    expect(state.size).toBe((await a.events.currentState(room)).size)
  })

  it('is of an event of the room, one at a time', async () => {
    const { room, bound } = await talkedIn()
    const { first } = await talkedIn()
    const { purges } = a.events
    const of = (event: typeof bound) =>
      purges.purgeHistory(room, { event: event.pdu.eventId }, { withLocal: true })
    await expect(of(first)).rejects.toMatchObject({ errcode: 'M_NOT_FOUND' })
    await of(bound)
    await expect(of(bound)).rejects.toMatchObject({ errcode: 'M_BAD_STATE' })
  })
})

describe('a room that is forgotten', () => {
  it('leaves no row behind, and can be written to no more', async () => {
    const { room, first } = await talkedIn()
    const { room: other } = await talkedIn()
    const kept = await count('events', other)
    await a.events.purges.forgetRoom(room)
    for (const table of ['events', 'rooms', 'current_state', 'memberships', 'timeline_gaps'])
      expect(`${table} ${await count(table, room)}`).toBe(`${table} 0`)
    expect((await a.events.get([first.pdu.eventId])).size).toBe(0)
    expect(await a.events.rulesOf(room)).toBeUndefined()
    await expect(say(a, room, alice, 'hello?')).rejects.toMatchObject({ errcode: 'M_NOT_FOUND' })
    const full = await nodes()
    await a.work('events.collect-state')
    expect(await nodes()).toBeLessThan(full)
    expect(await count('events', other)).toBe(kept)
    await expect(say(a, other, alice, 'still here')).resolves.toBeDefined()
  })

  it('may be blocked, and opened again', async () => {
    const room = await testRoom(a, alice)
    const { purges } = a.events
    expect(await purges.isBlocked(room)).toBe(false)
    await purges.setBlocked(room, true, alice)
    expect(await purges.isBlocked(room)).toBe(true)
    await purges.setBlocked(room, false, alice)
    expect(await purges.isBlocked(room)).toBe(false)
  })
})
