import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type TestDatabase, testDatabase } from '../homeserver/database/test-database.ts'
import {
  createDestinations,
  type Destinations,
  eduEntry,
} from '../homeserver/destinations/destinations.ts'
import type { EventPayload } from '../homeserver/events/events.ts'
import type { StoredEvent } from '../homeserver/events/stored-event.ts'
import { FakeClock } from '../homeserver/platform/fake-clock.ts'
import { silentLogger } from '../homeserver/platform/log.ts'
import type { LogRow } from '../homeserver/stream/log.ts'
import { openTestLog } from '../homeserver/stream/test-log.ts'
import { MatrixError } from '../spec/errors.ts'
import {
  parseEventId,
  parseRoomId,
  parseServerName,
  parseUserId,
  type ServerName,
} from '../spec/ids.ts'
import { type Json, type JsonObject, parseJson } from '../spec/json.ts'
import type { FederationClient } from './request.ts'
import { createSender, type Sender } from './sender.ts'

const us = parseServerName('us.example')
const a = parseServerName('a.example')
const b = parseServerName('b.example')
const room = parseRoomId('!r:us.example')
const alice = parseUserId('@alice:us.example')

interface Sent {
  readonly to: ServerName
  readonly pdus: readonly string[]
  readonly edus: readonly JsonObject[]
}

/** One process over fakes: a tail that the test feeds, servers that are up or down. */
async function createWorld(destinations: Destinations, clock: FakeClock, self = 'p1') {
  const foreign = new Set<ServerName>()
  const sent: Sent[] = []
  const down = new Set<ServerName>()
  /** Events for which every destination refuses a transaction. */
  const poison = new Set<string>()
  const inRoom = new Set<ServerName>([us, a, b])
  const live: { event: StoredEvent; position: number }[] = []
  let onRows: (rows: readonly LogRow[]) => void = () => {}
  let position = 0
  let gate: Promise<void> = Promise.resolve()

  const client: { call: FederationClient['call'] } = {
    async call(to, { body }): Promise<Json> {
      await gate
      if (down.has(to)) {
        destinations.backoff.failed(to)
        throw new MatrixError('M_CONNECTION_FAILED', 'down')
      }
      const { pdus, edus } = parseJson(String(body), { depthMax: 20 }) as unknown as {
        pdus: { id: string }[]
        edus: JsonObject[]
      }
      if (pdus.some(({ id }) => poison.has(id))) {
        throw new MatrixError('M_BAD_JSON', 'this event is bad', { status: 400 })
      }
      destinations.backoff.succeeded(to)
      sent.push({ to, pdus: pdus.map(({ id }) => id), edus })
      return { pdus: {} }
    },
  }
  const sender: Sender = createSender({
    serverName: us,
    client: { call: (to, request) => client.call(to, request) },
    destinations,
    events: {
      serversIn: async () => new Set(inRoom),
      serverMaySee: async () => true,
      timeline: async (_, { after, upTo, limit }) => {
        const found = live.filter((one) => one.position > after && one.position <= upTo)
        return { events: found.slice(-limit).map(({ event }) => event), limited: false }
      },
    },
    tail: {
      get position() {
        return position
      },
      subscribe: (_, callback) => {
        onRows = callback
        return { [Symbol.dispose]: () => {} }
      },
      read: async (after) =>
        live
          .filter((one) => one.position > after)
          .map(({ event, position: at }) => ({
            position: at,
            kind: 'event',
            ref: '',
            payload: { event, changesState: false },
          })),
    },
    processes: {
      self,
      alone: true,
      ownerOf: (key) =>
        [...foreign].some((server) => key === `destination:${server}`)
          ? { id: 'other', address: '' }
          : undefined,
    },
    clock,
    log: silentLogger,
  })

  function commit(rows: readonly Partial<LogRow>[]): void {
    const full = rows.map((row): LogRow => {
      position++
      return { position, kind: 'event', ref: '', payload: undefined, room, ...row }
    })
    onRows(full)
  }
  /** An event of ours; its text is `{"id": …}`. */
  function message(
    id: string,
    more: Partial<EventPayload> & { pdu?: object } = {},
  ): Partial<LogRow> {
    const event: StoredEvent = {
      nr: 1,
      text: `{"id":"${id}"}`,
      softFailed: false,
      pdu: {
        eventId: parseEventId(`$${id}`),
        roomId: room,
        sender: alice,
        type: 'm.room.message',
        content: {},
        depth: 1,
        originServerTs: 1,
        prevEvents: [],
        authEvents: [],
        json: {},
        ...more.pdu,
      },
    }
    live.push({ event, position: position + 1 })
    return { payload: { changesState: false, ...more, event } }
  }
  return {
    sender,
    client,
    sent,
    down,
    poison,
    /** Servers whose queue is another process's. */
    foreign,
    inRoom,
    commit,
    message,
    send: (...ids: string[]) => {
      for (const id of ids) commit([message(id)])
    },
    pdusTo: (to: ServerName) => sent.filter((one) => one.to === to).flatMap(({ pdus }) => pdus),
    edusTo: (to: ServerName) => sent.filter((one) => one.to === to).flatMap(({ edus }) => edus),
    /** Requests wait until the function that it answers is called. */
    hold() {
      let open = () => {}
      gate = new Promise((resolve) => {
        open = resolve
      })
      return () => open()
    },
    live,
    at: (to: number) => {
      position = to
    },
  }
}

let test: TestDatabase
let destinations: Destinations
let clock: FakeClock
let world: Awaited<ReturnType<typeof createWorld>>

beforeEach(async () => {
  clock = new FakeClock()
  test = await testDatabase()
  destinations = await createDestinations({ db: test.db, clock, log: silentLogger })
  world = await createWorld(destinations, clock)
})

afterEach(async () => {
  await world.sender[Symbol.asyncDispose]()
  await destinations[Symbol.asyncDispose]()
  await test[Symbol.asyncDispose]()
})

/** Lets time pass until it holds. */
async function eventually(check: () => void): Promise<void> {
  await expect
    .poll(
      async () => {
        await clock.advance(500)
        check()
        return true
      },
      { timeout: 10_000 },
    )
    .toBe(true)
}

describe('the sender', () => {
  it('sends our events to every other server in the room, in order', async () => {
    await world.sender.start()
    world.send('1', '2', '3')
    await eventually(() => expect(world.pdusTo(a)).toEqual(['1', '2', '3']))
    expect(world.pdusTo(b)).toEqual(['1', '2', '3'])
    expect(world.pdusTo(us)).toEqual([])
  })

  it('sends what came together in one transaction, of at most 50 events', async () => {
    await world.sender.start()
    world.send('first')
    await eventually(() => expect(world.pdusTo(a)).toEqual(['first']))
    world.commit(Array.from({ length: 120 }, (_, n) => world.message(String(n))))
    await eventually(() => expect(world.pdusTo(a)).toHaveLength(121))
    const sizes = world.sent.filter(({ to }) => to === a).map(({ pdus }) => pdus.length)
    expect(sizes).toEqual([1, 50, 50, 20])
  })

  it('leaves events of others alone, but sends what came in through us to all but their server', async () => {
    await world.sender.start()
    const foreign = { pdu: { sender: parseUserId('@bob:a.example') } }
    world.commit([
      world.message('not ours', foreign),
      world.message('joined through us', { ...foreign, onBehalfOf: a }),
    ])
    await eventually(() => expect(world.pdusTo(b)).toEqual(['joined through us']))
    expect(world.pdusTo(a)).toEqual([])
  })

  it('tells the server of somebody who is removed, and sends it nothing afterwards', async () => {
    await world.sender.start()
    world.send('before')
    await eventually(() => expect(world.pdusTo(a)).toEqual(['before']))
    world.inRoom.delete(a)
    const kick = {
      type: 'm.room.member',
      stateKey: '@bob:a.example',
      content: { membership: 'leave' },
    }
    world.commit([world.message('kick', { changesState: true, pdu: kick })])
    world.send('after')
    await eventually(() => expect(world.pdusTo(b)).toEqual(['before', 'kick', 'after']))
    expect(world.pdusTo(a)).toEqual(['before', 'kick'])
  })

  it('has one transaction on its way to a destination', async () => {
    await world.sender.start()
    const open = world.hold()
    world.send('1')
    await clock.advance(0)
    world.send('2', '3')
    await clock.advance(0)
    open()
    await eventually(() => expect(world.pdusTo(a)).toEqual(['1', '2', '3']))
    expect(world.sent.filter(({ to }) => to === a).map(({ pdus }) => pdus)).toEqual([
      ['1'],
      ['2', '3'],
    ])
  })

  it('sends a destination what it missed when it answers again, and does not slow the others', async () => {
    await world.sender.start()
    world.down.add(a)
    world.send('1', '2')
    await eventually(() => expect(world.pdusTo(b)).toEqual(['1', '2']))
    world.send('3')
    await eventually(() => expect(world.pdusTo(b)).toEqual(['1', '2', '3']))
    expect(world.pdusTo(a)).toEqual([])
    world.down.delete(a)
    await eventually(() => expect(world.pdusTo(a)).toEqual(['1', '2', '3']))
    world.send('4')
    await eventually(() => expect(world.pdusTo(a)).toEqual(['1', '2', '3', '4']))
    await eventually(() => expect(world.pdusTo(b)).toEqual(['1', '2', '3', '4']))
    expect(await destinations.behind(a, 10)).toEqual([])
  })

  it('goes on after a restart where it was, also with what nobody had noted', async () => {
    await world.sender.start()
    world.send('1')
    await eventually(() => expect(world.pdusTo(a)).toEqual(['1']))
    world.down.add(a)
    world.send('2')
    await eventually(() => expect(world.pdusTo(b)).toEqual(['1', '2']))
    // A process dies: nothing of its memory is written any more.
    const second = await createWorld(destinations, clock, 'p2')
    second.live.push(...world.live)
    second.live.push({ event: { ...lastOf(world.live).event, text: '{"id":"3"}' }, position: 3 })
    second.at(3)
    await second.sender.start()
    await eventually(() => expect(second.pdusTo(a)).toEqual(expect.arrayContaining(['2', '3'])))
    await eventually(() => expect(second.pdusTo(b)).toEqual(expect.arrayContaining(['3'])))
    await second.sender[Symbol.asyncDispose]()
  })

  it('leaves destinations to the process that owns them, and finds what it left when it takes over', async () => {
    await world.sender.start()
    world.foreign.add(b)
    world.send('1')
    await eventually(() => expect(world.pdusTo(a)).toEqual(['1']))
    expect(world.pdusTo(b)).toEqual([])
    await destinations.noteBehind([{ destination: b, room, first: 1, last: 1 }])
    world.foreign.delete(b)
    await clock.advance(30_000)
    await eventually(() => expect(world.pdusTo(b)).toEqual(['1']))
  })

  it('keeps EDUs of the outbox until the destination has them', async () => {
    await using log = await openTestLog(test.db)
    await world.sender.start()
    world.down.add(a)
    await log.writer.write({
      entries: [eduEntry(a, { edu_type: 'm.direct_to_device', content: { n: 1 } })],
    })
    world.commit([{ kind: 'outbox', ref: a }])
    await clock.advance(5_000)
    expect(world.edusTo(a)).toEqual([])
    world.down.delete(a)
    await eventually(() =>
      expect(world.edusTo(a)).toEqual([{ content: { n: 1 }, edu_type: 'm.direct_to_device' }]),
    )
    await eventually(() => expect(world.sent.length).toBe(1))
    expect(await destinations.outbox(a, 10)).toEqual([])
  })

  it('leaves out what a destination refuses, and sends it the rest', async () => {
    await world.sender.start()
    world.poison.add('2').add('5')
    world.commit(['1', '2', '3', '4', '5', '6'].map((id) => world.message(id)))
    await eventually(() => expect(world.pdusTo(a)).toEqual(['1', '3', '4', '6']))
    world.send('7')
    await eventually(() => expect(world.pdusTo(a)).toEqual(['1', '3', '4', '6', '7']))
    expect(destinations.backoff.retryAt(a)).toBe(0)
    expect(await destinations.behind(a, 10)).toEqual([])
  })

  it('drops nothing for a destination that refuses everything', async () => {
    await world.sender.start()
    const { call } = world.client
    world.client.call = async (to, request) => {
      if (to === a) throw new MatrixError('M_BAD_JSON', 'no', { status: 400 })
      return await call(to, request)
    }
    world.send('1', '2')
    await clock.advance(3_000)
    await expect.poll(() => destinations.backoff.retryAt(a)).toBeGreaterThan(0)
    world.client.call = call
    await eventually(() => expect(world.pdusTo(a)).toEqual(['1', '2']))
  })

  it('tells many receipts and states of presence in two EDUs', async () => {
    await world.sender.start()
    const open = world.hold()
    world.send('1')
    const users = [1, 2, 3].map((n) => parseUserId(`@u${n}:us.example`))
    const ref = JSON.stringify({ type: 'm.read', event_id: '$1', ts: 5 })
    world.commit(users.map((user) => ({ kind: 'receipt', user, ref })))
    for (const user of [...users, ...users]) {
      world.sender.sendTo([a], { kind: 'presence', text: `{"user_id":"${user}"}` }, user)
    }
    await clock.advance(500)
    open()
    await eventually(() => expect(world.edusTo(a)).toHaveLength(2))
    const data = { data: { ts: 5 }, event_ids: ['$1'] }
    const read = Object.fromEntries(users.map((user) => [user, data]))
    expect(world.edusTo(a)).toEqual([
      { edu_type: 'm.presence', content: { push: users.map((user) => ({ user_id: user })) } },
      { edu_type: 'm.receipt', content: { [room]: { 'm.read': read } } },
    ])
  })

  it('that never started leaves no cursor behind', async () => {
    const idle = await createWorld(destinations, clock, 'never started')
    await idle.sender[Symbol.asyncDispose]()
    expect(await destinations.cursors()).toEqual([])
  })

  it('tells receipts of ours, and drops typing for a destination that is down', async () => {
    await world.sender.start()
    world.down.add(b)
    world.send('1')
    await eventually(() => expect(world.pdusTo(a)).toEqual(['1']))
    const typing = '{"content":{"x":1},"edu_type":"m.typing"}'
    world.sender.sendToRoom(room, { kind: 'edu', text: typing }, 'typing')
    const ref = JSON.stringify({ type: 'm.read', event_id: '$1', ts: 5 })
    const hidden = JSON.stringify({ type: 'm.read.private', event_id: '$1', ts: 5 })
    world.commit([
      { kind: 'receipt', user: alice, ref },
      { kind: 'receipt', user: alice, ref: hidden },
      { kind: 'receipt', user: parseUserId('@bob:a.example'), ref },
    ])
    await eventually(() => expect(world.edusTo(a)).toHaveLength(2))
    expect(world.edusTo(a)).toEqual([
      { content: { x: 1 }, edu_type: 'm.typing' },
      {
        content: { [room]: { 'm.read': { [alice]: { data: { ts: 5 }, event_ids: ['$1'] } } } },
        edu_type: 'm.receipt',
      },
    ])
    world.down.delete(b)
    await eventually(() => expect(world.pdusTo(b)).toEqual(['1']))
    expect(world.edusTo(b)).toEqual([])
  })
})

function lastOf<T>(list: readonly T[]): T {
  const last = list.at(-1)
  if (last === undefined) throw new Error('empty')
  return last
}
