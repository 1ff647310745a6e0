import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MatrixError } from '../../spec/errors.ts'
import { stateKeyOf } from '../../spec/events/event.ts'
import { type EventId, parseUserId, type RoomId, type ServerName } from '../../spec/ids.ts'
import { type Clock, systemClock } from '../platform/clock.ts'
import type { Events } from './events.ts'
import {
  forge,
  joinOver,
  openTestServer,
  say,
  setState,
  type TestServer,
  type TestWorker,
  testRoom,
} from './test-events.ts'

const alice = parseUserId('@alice:a.test')
const bob = parseUserId('@bob:b.test')
const peers = new Map<ServerName, Events>()

/** Pauses that a.test made are over at once. */
const slept: number[] = []
const clock: Clock = { ...systemClock, sleep: async (ms) => void slept.push(ms) }

let a: TestWorker
let b: TestServer

beforeAll(async () => {
  a = await openTestServer('a.test', peers, clock)
  b = await openTestServer('b.test', peers)
}, 60_000)
afterAll(async () => {
  await a[Symbol.asyncDispose]()
  await b[Symbol.asyncDispose]()
})

const live = async (server: TestServer, room: RoomId, after = 0) =>
  await server.events.timeline(room, { after, upTo: Number.MAX_SAFE_INTEGER, limit: 100 })
const bodies = (events: readonly { pdu: { content: Readonly<Record<string, unknown>> } }[]) =>
  events.flatMap(({ pdu }) => pdu.content['body'] ?? [])

/** A room of alice's in which bob is; answers his join. */
async function sharedRoom() {
  const room = await testRoom(a, alice)
  const { event } = await joinOver(b, a, room, bob)
  return { room, join: event.pdu.eventId }
}

/** Bob's server answers some questions in another way while `work` runs. */
async function withPeer<T>(changes: Partial<Events>, work: () => Promise<T>): Promise<T> {
  peers.set(b.name, { ...b.events, ...changes })
  try {
    return await work()
  } finally {
    peers.set(b.name, b.events)
  }
}

const nothing = async () => []
const message = (sender = bob, body = 'x') =>
  ({ type: 'm.room.message', sender, content: { msgtype: 'm.text', body } }) as const

describe('an event whose earlier events are missing', () => {
  it('is dropped while nobody has them, and taken when they have come', async () => {
    const { room } = await sharedRoom()
    const first = await say(b, room, bob, 'first')
    const second = await say(b, room, bob, 'second')
    await withPeer({ missingBetween: nothing }, async () => {
      const receipts = await a.events.receive(b.name, room, [second.pdu.json])
      expect(receipts.get(second.pdu.eventId)?.kind).toBe('dropped')
      expect((await a.events.get([second.pdu.eventId])).size).toBe(0)
      await a.events.receive(b.name, room, [first.pdu.json])
      const again = await a.events.receive(b.name, room, [second.pdu.json])
      expect(again.get(second.pdu.eventId)).toEqual({ kind: 'accepted' })
    })
    expect(bodies((await live(a, room)).events)).toEqual(['first', 'second'])
  })

  it('is asked for in several questions when many are missing', async () => {
    const { room } = await sharedRoom()
    for (let at = 0; at < 70; at++) await say(b, room, bob, `missing ${at}`)
    const last = await say(b, room, bob, 'last')
    const asked: number[] = []
    const missingBetween: Events['missingBetween'] = async (...query) => {
      asked.push(query[3])
      return await b.events.missingBetween(...query)
    }
    await withPeer({ missingBetween }, () => a.events.receive(b.name, room, [last.pdu.json]))
    expect(asked).toEqual([20, 20, 20, 20])
    const { events, limited } = await live(a, room)
    expect(bodies(events)).toHaveLength(71)
    expect(limited).toBe(false)
  })

  it('is asked for again a moment later when its server fails for that long, so that no gap stays', async () => {
    const { room } = await sharedRoom()
    for (let at = 0; at < 30; at++) await say(b, room, bob, `missing ${at}`)
    const last = await say(b, room, bob, 'last')
    let asked = 0
    const missingBetween: Events['missingBetween'] = async (...query) => {
      if (++asked === 2) throw new MatrixError('M_CONNECTION_FAILED', 'not now')
      return await b.events.missingBetween(...query)
    }
    const before = slept.length
    await withPeer({ missingBetween }, () => a.events.receive(b.name, room, [last.pdu.json]))
    expect({ asked, pauses: slept.length - before }).toEqual({ asked: 3, pauses: 1 })
    const { events, limited } = await live(a, room)
    expect(bodies(events)).toHaveLength(31)
    expect(limited).toBe(false)
  })

  it('is not asked for again when its server refuses', async () => {
    const { room } = await sharedRoom()
    await say(b, room, bob, 'first')
    const second = await say(b, room, bob, 'second')
    let asked = 0
    const missingBetween: Events['missingBetween'] = async () => {
      asked++
      throw new MatrixError('M_FORBIDDEN', 'no')
    }
    const receipts = await withPeer({ missingBetween }, () =>
      a.events.receive(b.name, room, [second.pdu.json]),
    )
    expect(receipts.get(second.pdu.eventId)?.kind).toBe('dropped')
    expect(asked).toBe(1)
  })

  it('begins the timeline anew when the gap stays, and the history fills it', async () => {
    const { room } = await sharedRoom()
    const before = await say(a, room, alice, 'before')
    for (let at = 0; at < 30; at++) await say(b, room, bob, `missing ${at}`)
    const last = await say(b, room, bob, 'last')
    const missingBetween: Events['missingBetween'] = async (...query) =>
      (await b.events.missingBetween(...query)).slice(-5)
    await withPeer({ missingBetween }, () => a.events.receive(b.name, room, [last.pdu.json]))
    const { events, limited, isAfterGap } = await live(a, room, (before.position ?? 0) - 1)
    expect({ limited, isAfterGap }).toEqual({ limited: true, isAfterGap: true })
    expect(bodies(events)).toEqual([
      ...Array.from({ length: 5 }, (_, at) => `missing ${at + 25}`),
      'last',
    ])
    const point = { depth: last.pdu.depth, arrival: Number.MAX_SAFE_INTEGER }
    expect(await a.events.backfill(room, point, 100)).toBeGreaterThanOrEqual(25)
    const history = await a.events.history(room, { from: point, dir: 'b', limit: 100 })
    expect(bodies(history).filter((body) => String(body).startsWith('missing'))).toHaveLength(30)
  })
})

describe('state that another server names', () => {
  it('brings no events from before our join, though the way to them leads around it', async () => {
    const { room } = await sharedRoom()
    const carol = parseUserId('@carol:c.test')
    await using c = await openTestServer('c.test', peers)
    // Bob's server does not know yet of Carol when he speaks, so that his branch begins before her join.
    const { event: join } = await joinOver(c, a, room, carol)
    const said = [await say(b, room, bob, 'one'), await say(b, room, bob, 'two')]
    await a.events.receive(
      b.name,
      room,
      said.map(({ pdu }) => pdu.json),
    )
    const last = await say(a, room, alice, 'last')
    const receipts = await c.events.receive(a.name, room, [last.pdu.json])
    expect(receipts.get(last.pdu.eventId)).toEqual({ kind: 'accepted' })
    const { events } = await live(c, room)
    expect(bodies(events)).toContain('last')
    expect(events.filter(({ pdu }) => pdu.depth < join.pdu.depth)).toEqual([])
    expect((await c.events.extremities(room)).ids).toEqual([last.pdu.eventId])
    expect(await c.events.currentState(room)).toHaveProperty(
      'size',
      (await a.events.currentState(room)).size,
    )
  })

  it('has nothing that rests on an event which nobody gives', async () => {
    const { room, join } = await sharedRoom()
    const names = ['A', 'B', 'C', 'D', 'E']
    const renames: EventId[] = []
    for (const displayname of names) {
      const content = { membership: 'join', displayname }
      renames.push((await setState(b, room, bob, 'm.room.member', bob, content)).pdu.eventId)
    }
    await say(b, room, bob, 'at the gap')
    const given = await say(b, room, bob, 'given')
    const sent = await say(b, room, bob, 'sent')
    const changes: Partial<Events> = {
      missingBetween: async () => [given],
      get: async (ids) => await b.events.get(ids.filter((id) => id !== renames[1])),
      authChain: async (ids) =>
        (await b.events.authChain(ids)).filter(({ pdu }) => pdu.eventId !== renames[1]),
    }
    const receipts = await withPeer(changes, () => a.events.receive(b.name, room, [sent.pdu.json]))
    expect(receipts.get(sent.pdu.eventId)?.kind).toBe('dropped')
    const stored = await a.events.get(renames)
    expect([...stored.keys()]).toEqual([renames[0]])
    expect((await a.events.currentEntry(room, 'm.room.member', bob))?.pdu.eventId).toBe(join)
    // When all can be had, nothing stands in the way.
    const again = await a.events.receive(b.name, room, [sent.pdu.json])
    expect(again.get(sent.pdu.eventId)).toEqual({ kind: 'accepted' })
    const member = await a.events.currentEntry(room, 'm.room.member', bob)
    expect(member?.pdu.content['displayname']).toBe('E')
  })
})

describe('history before the join', () => {
  it('is asked of the likely server first, of others when it fails, and of none again at once', async () => {
    await using c = await openTestServer('c.test', peers)
    const carol = parseUserId('@carol:c.test')
    const room = await testRoom(a, alice)
    const { event } = await joinOver(c, a, room, carol)
    const old = []
    for (let at = 0; at < 5; at++) old.push((await say(a, room, alice, `old ${at}`)).pdu.json)
    await c.events.receive(a.name, room, old)
    const { event: join } = await joinOver(b, a, room, bob)
    await c.events.receive(a.name, room, [join.pdu.json])
    const asked: string[] = []
    const answering = (server: TestServer, answer: Events['backfillFrom']) =>
      peers.set(server.name, {
        ...server.events,
        async backfillFrom(...question) {
          asked.push(server.name)
          return await answer(...question)
        },
      })
    try {
      answering(a, () => Promise.reject(new MatrixError('M_UNKNOWN', 'not now')))
      answering(c, async (...question) => {
        const found = await c.events.backfillFrom(...question)
        // Only down to carol's join; the rest is still missing.
        return found.filter(({ pdu }) => pdu.depth > event.pdu.depth)
      })
      const point = { depth: join.pdu.depth, arrival: join.position ?? 0 }
      expect(await b.events.backfill(room, point, 100)).toBe(5)
      expect(asked).toEqual([a.name, c.name])
      const history = await b.events.history(room, { from: point, dir: 'b', limit: 100 })
      expect(bodies(history)).toHaveLength(5)
      answering(c, nothing)
      expect(await b.events.backfill(room, point, 100)).toBe(0)
      expect(await b.events.backfill(room, point, 100)).toBe(0)
      expect(asked).toEqual([a.name, c.name, c.name])
    } finally {
      peers.set(a.name, a.events)
      peers.delete(c.name)
    }
  })
})

describe('a rejected event', () => {
  it('stays rejected, and what names it for its authority is rejected too', async () => {
    const { room, join } = await sharedRoom()
    const content = { users: { [bob]: 100 } }
    const levels = { type: 'm.room.power_levels', stateKey: '', sender: bob, content }
    const bad = await forge(b, room, { ...levels, prev: [join] })
    const first = await a.events.receive(b.name, room, [bad.json])
    const second = await a.events.receive(b.name, room, [bad.json])
    expect([first, second].map((receipts) => receipts.get(bad.eventId)?.kind)).toEqual([
      'rejected',
      'rejected',
    ])
    const name = { type: 'm.room.name', stateKey: '', sender: bob, content: { name: 'mine' } }
    const child = await forge(b, room, { ...name, prev: [join], auth: [bad.eventId, join] })
    const receipts = await a.events.receive(b.name, room, [child.json])
    expect(receipts.get(child.eventId)?.kind).toBe('rejected')
    expect(await a.events.currentEntry(room, 'm.room.name', '')).toBeUndefined()
  })
})

describe('many branches', () => {
  it('are joined by an event that nobody sees, and no event names more than twenty', async () => {
    const { room, join } = await sharedRoom()
    const branches = await Promise.all(
      Array.from({ length: 30 }, (_, at) =>
        forge(b, room, { ...message(bob, `branch ${at}`), prev: [join] }),
      ),
    )
    await a.events.receive(
      b.name,
      room,
      branches.map(({ json }) => json),
    )
    expect((await a.events.extremities(room)).ids).toHaveLength(30)
    const sent = await say(a, room, alice, 'among many')
    expect(sent.pdu.prevEvents).toHaveLength(20)
    expect((await a.events.extremities(room)).ids).toHaveLength(11)
    await a.work('events.join-branches')
    expect((await a.events.extremities(room)).ids).toHaveLength(1)
    const { events } = await live(a, room)
    const seen = await a.events.visibleTo(alice, events)
    expect(seen.length).toBe(events.length - 1)
    expect(seen.map(({ event }) => event.pdu.type)).not.toContain('org.matrix.dummy_event')
  })

  it('end before a refused event that comes after them', async () => {
    const { room } = await sharedRoom()
    const { ids: tips } = await a.events.extremities(room)
    // Nobody may send this: it is rejected, and not an end.
    const content = { name: 'not allowed' }
    const refused = await forge(b, room, {
      ...{ type: 'm.room.name', stateKey: '', sender: bob, content, prev: tips },
    })
    const after = await forge(b, room, { ...message(), prev: [refused.eventId] })
    const receipts = await a.events.receive(b.name, room, [refused.json, after.json])
    expect([...receipts.values()].map(({ kind }) => kind)).toEqual(['rejected', 'accepted'])
    expect((await a.events.extremities(room)).ids).toEqual([after.eventId])
  })
})

describe('a redaction', () => {
  it('that comes before its event empties it', async () => {
    const { room, join } = await sharedRoom()
    const target = await forge(b, room, { ...message(bob, 'secret'), prev: [join] })
    const redaction = await forge(b, room, {
      ...{ type: 'm.room.redaction', sender: bob, content: {}, redacts: target.eventId },
      prev: [join],
    })
    await a.events.receive(b.name, room, [redaction.json])
    await a.events.receive(b.name, room, [target.json])
    const stored = (await a.events.get([target.eventId])).get(target.eventId)
    expect(stored?.redactedBy).toBe(redaction.eventId)
  })

  it('takes the content out of the database after a time', async () => {
    const room = await testRoom(a, alice)
    const { pdu } = await say(a, room, alice, 'very secret')
    const draft = { type: 'm.room.redaction', sender: alice, content: {}, redacts: pdu.eventId }
    await a.events.append(room, () => ({ kind: 'append', draft }))
    const text = async () => {
      const [row] = await a.database.db.query<{ json: string }>(
        'select json from events where event_id = $1',
        [pdu.eventId],
      )
      return row?.json
    }
    expect(await text()).toContain('very secret')
    await a.work('events.reduce')
    expect(await text()).not.toContain('very secret')
    const stored = (await a.events.get([pdu.eventId])).get(pdu.eventId)
    expect(stored?.pdu.content).toEqual({})
    expect(stored?.pdu.sender).toBe(alice)
    const key = stateKeyOf('m.room.create', '')
    expect((await a.events.currentState(room)).get(key)).toBeDefined()
  })
})
