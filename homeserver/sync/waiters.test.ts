import { beforeEach, describe, expect, it } from 'vitest'
import {
  parseDeviceId,
  parseRoomId,
  parseServerName,
  parseUserId,
  type RoomId,
  type UserId,
} from '../../spec/ids.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import type { PresenceChange } from '../presence/presence.ts'
import type { TypingChange } from '../receipts/typing.ts'
import { testMemberships } from '../rooms/test-memberships.ts'
import type { LogKind, LogRow } from '../stream/log.ts'
import { createWaiters } from './waiters.ts'

const room = parseRoomId('!room:here.test')
const other = parseRoomId('!other:here.test')
const alice = parseUserId('@alice:here.test')
const bob = parseUserId('@bob:here.test')
const phone = parseDeviceId('PHONE')
const seen = { position: 10, typing: 5, presence: 5 }
const never = new AbortController().signal

function setUp() {
  const clock = new FakeClock()
  const memberships = testMemberships(parseServerName('here.test'))
  for (const user of [alice, bob]) memberships.set(room, user, 'join')
  const rows: ((rows: readonly LogRow[]) => void)[] = []
  const nothing = { [Symbol.dispose]: () => {} }
  const tail = {
    position: 10,
    subscribe(_: string, onRows: (rows: readonly LogRow[]) => void) {
      rows.push(onRows)
      return nothing
    },
  }
  const typing = {
    stamp: 5,
    listener: (_: TypingChange) => {},
    changedAt: () => typing.stamp,
    onTyping(listener: (change: TypingChange) => void) {
      typing.listener = listener
      return nothing
    },
  }
  const presence = {
    stamp: 5,
    listener: (_: PresenceChange) => {},
    onChange(listener: (change: PresenceChange) => void) {
      presence.listener = listener
      return nothing
    },
  }
  const waiters = createWaiters({ tail, clock, memberships, typing, presence })
  const tell = (kind: LogKind, more: { room?: RoomId; user?: UserId; ref?: string }) => {
    tail.position += 1
    const row = { position: tail.position, kind, ref: '', payload: undefined, ...more }
    for (const onRows of rows) onRows([row])
  }
  return { clock, memberships, waiters, tell, typing, presence }
}

let house: ReturnType<typeof setUp>
beforeEach(() => {
  house = setUp()
})

describe('news for a watched user', () => {
  it.each<[string, LogKind, { room?: RoomId; user?: UserId; ref?: string }, boolean]>([
    ['an event in a room of theirs', 'event', { room }, true],
    ['an event elsewhere', 'event', { room: other }, false],
    ['their invite to a room', 'event', { room: other, user: alice }, true],
    ['a change of the state of their room', 'state', { room, ref: '*' }, true],
    ['a receipt', 'receipt', { room, user: bob, ref: '{"type":"m.read"}' }, true],
    ['a private receipt', 'receipt', { room, user: bob, ref: '{"type":"m.read.private"}' }, false],
    ['their own', 'receipt', { room, user: alice, ref: '{"type":"m.read.private"}' }, true],
    ['their account data', 'accountData', { user: alice, ref: 'x' }, true],
    ['that of others', 'accountData', { user: bob, ref: 'x' }, false],
    ['an invite from afar', 'outOfBandMembership', { room: other, user: alice }, true],
    ['a message to their device', 'toDevice', { user: alice, ref: phone }, true],
    ['one to another device', 'toDevice', { user: alice, ref: 'LAPTOP' }, false],
    ['the devices of somebody they share a room with', 'deviceList', { user: bob }, true],
    ['what processes cache', 'invalidate', { ref: 'x' }, false],
  ])('%s', async (_, kind, row, expected) => {
    const watch = await house.waiters.watch(alice)
    house.tell(kind, row)
    expect(await watch.hasNews(seen, phone)).toBe(expected)
  })

  it('are what came before they were watched', async () => {
    house.tell('event', { room: other })
    const watch = await house.waiters.watch(alice)
    expect(await watch.hasNews(seen, phone)).toBe(true)
    expect(await watch.hasNews({ ...seen, position: 11 }, phone)).toBe(false)
  })

  it('are typing and presence of those in their rooms', async () => {
    const watch = await house.waiters.watch(alice)
    house.typing.stamp = 6
    house.typing.listener({ room: other, user: bob, typing: true })
    expect(await watch.hasNews(seen, phone)).toBe(false)
    house.typing.listener({ room, user: bob, typing: true })
    expect(await watch.hasNews(seen, phone)).toBe(true)
    const typed = { ...seen, typing: 6 }
    expect(await watch.hasNews(typed, phone)).toBe(false)
    house.presence.stamp = 7
    const state = {
      presence: 'online',
      lastActiveTs: 1,
      currentlyActive: true,
      what: 'state',
    } as const
    house.presence.listener({ user: bob, ...state })
    expect(await watch.hasNews(typed, phone)).toBe(true)
    expect(watch.hasPresence(typed)).toBe(true)
  })

  it('go on in a room that they come into', async () => {
    const watch = await house.waiters.watch(alice)
    house.tell('event', { room: other, user: alice })
    house.tell('event', { room: other })
    expect(await watch.hasNews({ ...seen, position: 11 }, phone)).toBe(true)
  })
})

describe('a wait', () => {
  it('ends with a row that concerns the user', async () => {
    const watch = await house.waiters.watch(alice)
    let woken = false
    const waiting = watch.wait(seen, phone, 30_000, never).then(() => {
      woken = true
    })
    house.tell('event', { room: other })
    house.tell('toDevice', { user: alice, ref: 'LAPTOP' })
    await house.clock.advance(1_000)
    expect(woken).toBe(false)
    house.tell('event', { room })
    await waiting
    expect(house.clock.waiting).toBe(0)
  })

  it('does not begin when there is something already', async () => {
    const watch = await house.waiters.watch(alice)
    house.tell('event', { room })
    await watch.wait(seen, phone, 30_000, never)
  })

  it('does something now and then meanwhile, and no more when it is over', async () => {
    const watch = await house.waiters.watch(alice)
    let calls = 0
    const stay = { everyMs: 15_000, call: () => calls++ }
    const waiting = watch.wait(seen, phone, 100_000, never, stay)
    await house.clock.advance(50_000)
    expect(calls).toBe(3)
    house.tell('event', { room })
    await waiting
    expect(house.clock.waiting).toBe(0)
    await house.clock.advance(50_000)
    expect(calls).toBe(3)
  })

  it('ends with its time and with its signal', async () => {
    const watch = await house.waiters.watch(alice)
    const timed = watch.wait(seen, phone, 1_000, never)
    await house.clock.advance(1_200)
    await timed
    const abort = new AbortController()
    const aborted = watch.wait(seen, phone, 30_000, abort.signal)
    abort.abort()
    await aborted
    await watch.wait(seen, phone, 30_000, abort.signal)
    expect(house.clock.waiting).toBe(0)
  })
})
