import { beforeEach, describe, expect, it } from 'vitest'
import { parseEventId, parseRoomId, parseUserId } from '../../spec/ids.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import {
  createLane,
  type Lag,
  type Lane,
  type LaneNeeds,
  laneLimits,
  type Push,
} from './push-lane.ts'
import type { StoredPusher } from './pushers.ts'

const user = parseUserId('@alice:here.test')
const roomId = parseRoomId('!room:here.test')
const pusher: StoredPusher = {
  appId: 'app',
  pushkey: 'key',
  kind: 'http',
  appDisplayName: 'App',
  deviceDisplayName: 'Phone',
  lang: 'en',
  data: {},
  enabled: true,
  updatedAt: 0,
}

let clock: FakeClock
let isUp: boolean
let current: StoredPusher | undefined
let sent: unknown[]
let tries: number
let stored: (Lag | undefined)[]
let unread: number
const read = new Set<number>()

beforeEach(() => {
  clock = new FakeClock()
  isUp = true
  current = pusher
  sent = []
  tries = 0
  stored = []
  unread = 1
  read.clear()
})

function pushAt(position: number): Push {
  const eventId = parseEventId(`$event${position}`)
  const pdu: StoredEvent['pdu'] = {
    ...{ eventId, roomId, sender: user, type: 'm.room.message', content: {}, json: {} },
    ...{ depth: 1, originServerTs: 0, prevEvents: [], authEvents: [] },
  }
  const event: StoredEvent = { nr: position, pdu, text: '{}', position, softFailed: false }
  return { event, actions: ['notify'], position }
}

function laneWith(more: Partial<LaneNeeds> = {}): Lane {
  return createLane({
    clock,
    user,
    pusher: async () => current,
    message: async (_, { position }) =>
      read.has(position) ? undefined : { body: { position }, unread },
    badge: async (_, before) => (before === unread ? undefined : { body: { unread }, unread }),
    send: async (_, body) => {
      tries += 1
      if (!isUp) throw new Error('down')
      sent.push(body)
    },
    missed: async () => [],
    store: async (lag) => {
      stored.push(lag)
    },
    ...more,
  })
}

describe('the notices of a pusher', () => {
  it('go out in order, each once', async () => {
    const lane = laneWith()
    for (const position of [2, 1, 3, 2]) lane.add(pushAt(position))
    await lane.run()
    lane.add(pushAt(3))
    await lane.run()
    expect(sent).toEqual([{ position: 1 }, { position: 2 }, { position: 3 }])
    expect(stored).toEqual([])
    expect(lane.isIdle).toBe(true)
  })

  it('are left out when they are read by then', async () => {
    const lane = laneWith()
    read.add(1)
    lane.add(pushAt(1))
    lane.add(pushAt(2))
    await lane.run()
    expect(sent).toEqual([{ position: 2 }])
  })

  it('wait while the gateway is down, longer each time, and it is stored from where on', async () => {
    const lane = laneWith()
    isUp = false
    lane.add(pushAt(5))
    expect(lane.unstored).toBe(5)
    await lane.run()
    expect(lane.unstored).toBeUndefined()
    lane.add(pushAt(6))
    await lane.run()
    expect(tries).toBe(1)
    for (const pauseMs of [1_000, 2_000, 4_000]) {
      await clock.advance(pauseMs - 1)
      expect(lane.isDue()).toBe(false)
      await clock.advance(1)
      expect(lane.isDue()).toBe(true)
      await lane.run()
    }
    expect(tries).toBe(4)
    expect(stored.at(-1)).toMatchObject({ behindFrom: 4, failures: 4 })
    isUp = true
    await clock.advance(8_000)
    await lane.run()
    expect(sent).toEqual([{ position: 5 }, { position: 6 }])
    expect(stored.at(-1)).toBeUndefined()
    expect(lane.isIdle).toBe(true)
  })

  it('are given up after a day', async () => {
    const lane = laneWith()
    isUp = false
    lane.add(pushAt(1))
    await lane.run()
    for (let hour = 0; hour < 30; hour++) {
      await clock.advance(laneLimits.retryMaxMs)
      await lane.run()
    }
    expect(tries).toBeLessThan(30)
    expect(stored.at(-1)).toBeUndefined()
    expect(lane.isIdle).toBe(true)
    isUp = true
    lane.add(pushAt(2))
    await lane.run()
    expect(sent).toEqual([{ position: 2 }])
  })

  it('are bounded: the oldest make room', async () => {
    const lane = laneWith()
    isUp = false
    for (let position = 1; position <= laneLimits.pushesMax + 10; position++) {
      lane.add(pushAt(position))
    }
    isUp = true
    await lane.run()
    expect(sent).toHaveLength(laneLimits.pushesMax)
    expect(sent[0]).toEqual({ position: 11 })
  })

  it('are read again where another process left off', async () => {
    const lane = laneWith({ missed: async (after) => [pushAt(after + 1), pushAt(after + 2)] })
    const failingSince = clock.now()
    lane.resume({ behindFrom: 7, failingSince, failures: 3, nextTryAt: clock.now() + 100 })
    lane.add(pushAt(9))
    await lane.run()
    expect(sent).toEqual([])
    await clock.advance(100)
    await lane.run()
    expect(sent).toEqual([{ position: 8 }, { position: 9 }])
    expect(stored).toEqual([undefined])
  })

  it('end with the pusher', async () => {
    const lane = laneWith()
    lane.add(pushAt(1))
    current = undefined
    await lane.run()
    expect(sent).toEqual([])
    expect(lane.isIdle).toBe(true)
  })

  it('are tried at once when the pusher is set anew', async () => {
    const lane = laneWith()
    isUp = false
    lane.add(pushAt(1))
    await lane.run()
    isUp = true
    lane.forgetLag()
    await lane.run()
    expect(sent).toEqual([{ position: 1 }])
  })
})

describe('the badge of a pusher', () => {
  it('is told when its number changes, and not when a notice has told it', async () => {
    const lane = laneWith()
    lane.add(pushAt(1))
    lane.checkBadge()
    await lane.run()
    expect(sent).toEqual([{ position: 1 }])
    unread = 0
    lane.checkBadge()
    await lane.run()
    lane.checkBadge()
    await lane.run()
    expect(sent).toEqual([{ position: 1 }, { unread: 0 }])
  })

  it('alone is not tried again', async () => {
    const lane = laneWith()
    isUp = false
    lane.checkBadge()
    await lane.run()
    expect(lane.isIdle).toBe(true)
    expect(stored).toEqual([])
  })
})
