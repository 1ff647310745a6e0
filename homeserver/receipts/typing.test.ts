import { expect, it } from 'vitest'
import { parseRoomId, parseServerName, parseUserId } from '../../spec/ids.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { createMemoryBus } from '../platform/redis.ts'
import { testMemberships } from '../rooms/test-memberships.ts'
import type { LogRow } from '../stream/log.ts'
import { createTyping, type TypingChange } from './typing.ts'

const here = parseServerName('here.test')
const room = parseRoomId('!room:here.test')
const alice = { user: parseUserId('@alice:here.test'), guest: false, admin: false }
const dave = parseUserId('@dave:far.test')

function setUp() {
  const clock = new FakeClock()
  const memberships = testMemberships(here)
  memberships.set(room, alice.user, 'join')
  memberships.set(room, dave, 'join')
  const bus = createMemoryBus()
  const tails = new Set<(rows: readonly LogRow[]) => void>()
  const tail = {
    subscribe(_name: string, onRows: (rows: readonly LogRow[]) => void) {
      tails.add(onRows)
      return { [Symbol.dispose]: () => void tails.delete(onRows) }
    },
  }
  const start = () => createTyping({ clock, memberships, tail, bus: bus.connect() })
  const typing = start()
  const changes: TypingChange[] = []
  typing.onTyping((change) => changes.push(change))
  const tell = (row: LogRow) => {
    for (const onRows of tails) onRows([row])
  }
  return { clock, memberships, typing, elsewhere: start(), changes, tell }
}

it('shows who types until the time is over', async () => {
  const { clock, typing, changes } = setUp()
  const before = typing.stamp
  await typing.setTyping(alice, room, true, 5_000)
  expect(typing.typingOf(room)).toEqual([alice.user])
  expect(typing.changedAt(room)).toBeGreaterThan(before)
  await typing.setTyping(alice, room, true, 5_000)
  expect(changes).toEqual([{ room, user: alice.user, typing: true }])
  await clock.advance(6_000)
  expect(typing.typingOf(room)).toEqual([])
  expect(changes.at(-1)).toEqual({ room, user: alice.user, typing: false })
})

it('is told to the other processes', async () => {
  const { typing, elsewhere } = setUp()
  const changes: TypingChange[] = []
  elsewhere.onTyping((change) => changes.push(change))
  await typing.setTyping(alice, room, true)
  await expect.poll(() => elsewhere.typingOf(room)).toEqual([alice.user])
  await typing.setTyping(alice, room, false)
  await expect.poll(() => elsewhere.typingOf(room)).toEqual([])
  expect(changes.map((change) => change.typing)).toEqual([true, false])
})

it('tells other servers again of somebody who goes on typing', async () => {
  const { clock, typing, changes } = setUp()
  for (let n = 0; n < 10; n++) {
    await typing.setTyping(alice, room, true, 30_000)
    await clock.advance(10_000)
  }
  expect(changes).toHaveLength(3)
})

it('takes word of other servers about their own users in the room', async () => {
  const { clock, typing } = setUp()
  const far = parseServerName('far.test')
  await typing.onRemoteTyping(far, { room_id: room, user_id: dave, typing: true })
  await typing.onRemoteTyping(far, { room_id: room, user_id: alice.user, typing: true })
  const stranger = parseUserId('@stranger:far.test')
  await typing.onRemoteTyping(far, { room_id: room, user_id: stranger, typing: true })
  expect(typing.typingOf(room)).toEqual([dave])
  await clock.advance(61_000)
  expect(typing.typingOf(room)).toEqual([])
})

it('stops for whoever leaves, and is refused outside the room', async () => {
  const { memberships, typing, tell } = setUp()
  await typing.setTyping(alice, room, true)
  memberships.set(room, alice.user, 'leave')
  tell({ position: 1, kind: 'event', room, user: alice.user, ref: '1', payload: undefined })
  await expect.poll(() => typing.typingOf(room)).toEqual([])
  await expect(typing.setTyping(alice, room, true)).rejects.toMatchObject({
    errcode: 'M_FORBIDDEN',
  })
})
