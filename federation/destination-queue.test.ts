import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Behind, Destinations } from '../homeserver/destinations/destinations.ts'
import type { StoredEvent } from '../homeserver/events/stored-event.ts'
import { FakeClock } from '../homeserver/platform/fake-clock.ts'
import { silentLogger } from '../homeserver/platform/log.ts'
import {
  parseEventId,
  parseRoomId,
  parseServerName,
  parseUserId,
  type RoomId,
} from '../spec/ids.ts'
import { createDestinationQueue } from './destination-queue.ts'

const us = parseServerName('us.example')
const them = parseServerName('them.example')
const rooms = ['!a:us.example', '!b:us.example'].map(parseRoomId)
const unexpected = async () => {
  throw new Error('not called here')
}

/** What a database would keep over a crash. */
function createDisk() {
  const behind = new Map<RoomId, Behind>()
  const outbox = new Map<number, string>()
  let fails = 0
  const check = async () => {
    await Promise.resolve()
    if (fails > 0) {
      fails--
      throw new Error('the database is away')
    }
  }
  return {
    behind,
    outbox,
    failNext: () => void fails++,
    open(clock: FakeClock): Destinations {
      let retryAt = 0
      return {
        backoff: {
          retryAt: () => retryAt,
          succeeded: () => {
            retryAt = 0
          },
          failed: () => {
            retryAt = clock.now() + 1_000
          },
          met: () => {},
          onReturn: () => {},
          flush: async () => {},
          refresh: async () => {},
          [Symbol.asyncDispose]: async () => {},
        },
        inbound: { once: unexpected, [Symbol.asyncDispose]: async () => {} },
        administration: {
          list: unexpected,
          find: unexpected,
          rooms: unexpected,
          waiting: unexpected,
          reset: unexpected,
        },
        outbox: async (_, limit) => {
          await check()
          return [...outbox]
            .slice(0, limit)
            .map(([id, content]) => ({ id, eduType: 'm.x', content }))
        },
        acknowledge: async (ids) => {
          await check()
          for (const id of ids) outbox.delete(id)
        },
        behind: async (_, limit) => {
          await check()
          return [...behind.values()].slice(0, limit)
        },
        noteBehind: async (rows) => {
          if (rows.length === 0) return
          await check()
          for (const { room, first, last } of rows) {
            const before = behind.get(room)
            behind.set(room, {
              room,
              first: Math.min(first, before?.first ?? first),
              last: Math.max(last, before?.last ?? last),
            })
          }
        },
        caughtUp: async (_, done) => {
          await check()
          for (const { room, upTo } of done) {
            const before = behind.get(room)
            if (!before) continue
            if (before.last <= upTo) behind.delete(room)
            else behind.set(room, { ...before, first: upTo + 1 })
          }
        },
        waiting: async () => [],
        cursors: async () => [],
        setCursor: async () => {},
        dropCursors: async () => {},
        [Symbol.asyncDispose]: async () => {},
      }
    },
  }
}

function eventAt(position: number, room: RoomId): StoredEvent {
  return {
    nr: position,
    text: String(position),
    softFailed: false,
    position,
    pdu: {
      eventId: parseEventId(`$${position}`),
      roomId: room,
      sender: parseUserId('@alice:us.example'),
      type: 'm.room.message',
      content: {},
      depth: 1,
      originServerTs: 1,
      prevEvents: [],
      authEvents: [],
      json: {},
    },
  }
}

const operation = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('push'), room: fc.nat({ max: 1 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('down') }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('up') }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('pass') }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('edu') }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('store') }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('crash') }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('disk fails') }) },
)
type Operation = { readonly kind: string; readonly room?: number }

/** Runs the operations on one destination; answers what arrived, and in which order. */
async function run(operations: readonly Operation[]) {
  const clock = new FakeClock()
  const disk = createDisk()
  const log: { event: StoredEvent; position: number }[] = []
  const arrived: string[] = []
  const edus: string[] = []
  let isDown = false
  let cursor = 0

  function open() {
    const destinations = disk.open(clock)
    // What a dead process has on its way still arrives, but nobody hears the answer.
    const alive = { is: true }
    const queue = createDestinationQueue(them, {
      serverName: us,
      destinations,
      clock,
      log: silentLogger,
      events: {
        serverMaySee: async () => true,
        timeline: async (room, { after, upTo, limit }) => ({
          events: log
            .filter(
              ({ event, position }) =>
                event.pdu.roomId === room && position > after && position <= upTo,
            )
            .slice(-limit)
            .map(({ event }) => event),
          limited: false,
        }),
      },
      send: async (_, transaction) => {
        await Promise.resolve()
        if (!alive.is) return await new Promise<never>(() => {})
        if (isDown) {
          destinations.backoff.failed(them)
          return false
        }
        arrived.push(...transaction.pdus)
        edus.push(...transaction.edus)
        return true
      },
      inPlace: (_, work) => work(),
    })
    return { queue, destinations, alive }
  }

  let process = open()
  const settle = async (ms: number) => {
    for (let step = 0; step < 30; step++) await Promise.resolve()
    await clock.advance(ms)
    process.queue.pump()
    for (let step = 0; step < 30; step++) await Promise.resolve()
  }
  /** What sender-cursor.ts does once a second. */
  const store = async () => {
    const notes = process.queue.takeNotes()
    const reached = log.length
    const { oldest } = process.queue
    try {
      await process.destinations.noteBehind(notes.map((one) => ({ ...one, destination: them })))
    } catch {
      process.queue.returnNotes(notes)
      return
    }
    cursor = oldest === undefined ? reached : Math.min(oldest - 1, reached)
  }
  const crash = () => {
    process.alive.is = false
    process = open()
    for (const { event, position } of log.slice(cursor))
      process.queue.note(event.pdu.roomId, position)
    process.queue.resume()
    process.queue.outboxGrown()
  }

  for (const { kind, room = 0 } of operations) {
    if (kind === 'push') {
      const position = log.length + 1
      const event = eventAt(position, rooms[room] ?? parseRoomId('!x'))
      log.push({ event, position })
      process.queue.push(event, position)
      process.queue.pump()
    } else if (kind === 'edu') {
      disk.outbox.set(log.length * 1000 + disk.outbox.size, `{"n":${log.length}}`)
      process.queue.outboxGrown()
      process.queue.pump()
    } else if (kind === 'down') isDown = true
    else if (kind === 'up') isDown = false
    else if (kind === 'pass') await settle(400)
    else if (kind === 'store') await store()
    else if (kind === 'disk fails') disk.failNext()
    else if (kind === 'crash') crash()
  }
  isDown = false
  for (let step = 0; step < 12; step++) {
    await settle(1_000)
    await store()
  }
  return { log, arrived, edus, disk, queue: process.queue, cursor }
}

describe('the queue of a destination', () => {
  it('loses nothing, whatever fails and crashes in between', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 60 }), async (operations) => {
        const { log, arrived, disk, queue, cursor } = await run(operations)
        expect(new Set(arrived)).toEqual(new Set(log.map(({ event }) => event.text)))
        expect(disk.outbox.size).toBe(0)
        expect(disk.behind.size).toBe(0)
        expect(queue.isIdle).toBe(true)
        expect(cursor).toBe(log.length)
      }),
      { numRuns: 300 },
    )
  })

  it('sends each event once and in order while nothing fails', async () => {
    const pushes = Array.from({ length: 130 }, (_, n) => ({ kind: 'push', room: n % 2 }))
    const { arrived } = await run([...pushes, { kind: 'pass' }, ...pushes])
    expect(arrived).toEqual(Array.from({ length: 260 }, (_, n) => String(n + 1)))
  })

  it('keeps the order within a room when the destination was away for a moment', async () => {
    const push = { kind: 'push', room: 0 }
    const { arrived } = await run([
      push,
      { kind: 'down' },
      push,
      { kind: 'pass' },
      push,
      { kind: 'up' },
    ])
    expect(arrived).toEqual(['1', '2', '3'])
  })
})
