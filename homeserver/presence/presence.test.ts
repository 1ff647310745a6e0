import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  parseDeviceId,
  parseRoomId,
  parseServerName,
  parseUserId,
  type UserId,
} from '../../spec/ids.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { createMemoryBus } from '../platform/redis.ts'
import type { Requester } from '../rooms/rooms.ts'
import { testMemberships } from '../rooms/test-memberships.ts'
import type { LogRow } from '../stream/log.ts'
import { createPresence, type PresenceChange } from './presence.ts'

const here = parseServerName('here.test')
const far = parseServerName('far.test')
const room = parseRoomId('!room:here.test')
const bob = parseUserId('@bob:here.test')
const dave = parseUserId('@dave:far.test')

let database: TestDatabase
beforeAll(async () => {
  database = await testDatabase()
})
afterAll(() => database[Symbol.asyncDispose]())

function setUp(name: string) {
  const clock = new FakeClock()
  const memberships = testMemberships(here)
  const alice: Requester = {
    user: parseUserId(`@${name}:here.test`),
    device: parseDeviceId('A'),
    guest: false,
    admin: false,
  }
  for (const user of [alice.user, bob, dave]) memberships.set(room, user, 'join')
  const bus = createMemoryBus()
  const subscribers: ((rows: readonly LogRow[]) => void)[] = []
  let count = 0
  const start = (enabled = true) =>
    createPresence({
      db: database.db,
      clock,
      memberships,
      serverName: here,
      bus: bus.connect(),
      tail: {
        subscribe(_, onRows) {
          subscribers.push(onRows)
          return { [Symbol.dispose]: () => {} }
        },
      },
      enabled,
      self: `p${count++}`,
    })
  /** Lets the log show that the user has read something. */
  const reads = (user: UserId) => {
    const row = { position: 1, kind: 'receipt', user, ref: '{}', payload: undefined } as const
    for (const onRows of subscribers) onRows([row])
  }
  const joins = (user: UserId) => {
    const pdu = { type: 'm.room.member', sender: user, roomId: room }
    const payload = { changesState: true, event: { pdu } }
    for (const onRows of subscribers) onRows([{ position: 1, kind: 'event', ref: '1', payload }])
  }
  const presence = start()
  const changes: PresenceChange[] = []
  presence.onChange((change) => changes.push(change))
  return { clock, memberships, alice, presence, start, changes, reads, joins }
}

it('is online while a device syncs, and offline half a minute after', async () => {
  const { clock, alice, presence, changes } = setUp('syncing')
  const before = presence.stamp
  expect(await presence.get(alice.user)).toEqual({
    presence: 'offline',
    lastActiveTs: 0,
    currentlyActive: false,
  })
  presence.touch(alice, 'online')
  await expect.poll(async () => (await presence.get(alice.user)).presence).toBe('online')
  expect(presence.changedSince(before, 5)).toEqual([alice.user])
  expect(presence.changedSince(before, 0)).toBeUndefined()
  await clock.advance(20_000)
  presence.touch(alice, 'online')
  await clock.advance(20_000)
  expect(await presence.get(alice.user)).toMatchObject({
    presence: 'online',
    currentlyActive: true,
  })
  await clock.advance(20_000)
  expect(await presence.get(alice.user)).toMatchObject({
    presence: 'offline',
    currentlyActive: false,
  })
  expect(changes.map((change) => change.presence)).toEqual(['online', 'offline'])
  expect(presence.changedSince(presence.stamp, 5)).toEqual([])
})

it('is idle after five minutes without doing anything, and not after the next thing', async () => {
  const { clock, alice, presence, changes, reads } = setUp('idle')
  await presence.set(alice, { presence: 'online' })
  for (let ms = 0; ms < 320_000; ms += 20_000) {
    presence.touch(alice, 'online')
    await clock.advance(20_000)
  }
  expect(await presence.get(alice.user)).toMatchObject({ presence: 'unavailable' })
  presence.touch(alice, 'online')
  expect(await presence.get(alice.user)).toMatchObject({ presence: 'unavailable' })
  reads(alice.user)
  expect(await presence.get(alice.user)).toMatchObject({
    presence: 'online',
    currentlyActive: true,
  })
  expect(changes.map(({ presence: kind, what }) => [kind, what])).toEqual([
    ['online', 'state'],
    ['unavailable', 'state'],
    ['online', 'state'],
  ])
})

it('is online again when one who said to be away does something', async () => {
  const { alice, presence, reads } = setUp('back')
  await presence.set(alice, { presence: 'unavailable', statusMsg: 'away' })
  reads(bob)
  expect(await presence.get(alice.user)).toMatchObject({ presence: 'unavailable' })
  reads(alice.user)
  expect(await presence.get(alice.user)).toMatchObject({ presence: 'online', statusMsg: 'away' })
})

it('is told again before other servers forget it', async () => {
  const { clock, alice, presence, changes, reads } = setUp('again')
  await presence.set(alice, { presence: 'online' })
  const { stamp } = presence
  for (let ms = 0; ms < 1_520_000; ms += 20_000) {
    presence.touch(alice, 'online')
    reads(alice.user)
    await clock.advance(20_000)
  }
  expect(changes.map(({ what }) => what)).toEqual(['state', 'again'])
  expect(presence.changedSince(stamp, 5)).toEqual([])
})

it('is what the most present device is', async () => {
  const { alice, presence } = setUp('two')
  await presence.set(alice, { presence: 'unavailable', statusMsg: 'away' })
  const phone = { ...alice, device: parseDeviceId('B') }
  presence.touch(phone, 'online')
  expect(await presence.get(alice.user)).toMatchObject({ presence: 'online', statusMsg: 'away' })
  // To sync without being marked as online takes nothing back.
  presence.touch(phone, 'offline')
  expect(await presence.get(alice.user)).toMatchObject({ presence: 'online' })
  await presence.set(phone, { presence: 'offline' })
  expect(await presence.get(alice.user)).toMatchObject({ presence: 'unavailable' })
  await expect(
    presence.set(alice, { presence: 'online', statusMsg: 'x'.repeat(3000) }),
  ).rejects.toMatchObject({
    errcode: 'M_INVALID_PARAM',
  })
})

it('is busy, on whichever process the device syncs, until the device says something else', async () => {
  const { clock, alice, presence, start, reads } = setUp('busy')
  const elsewhere = start()
  const busy = { presence: 'org.matrix.msc3026.busy' }
  await presence.set(alice, { presence: 'org.matrix.msc3026.busy', statusMsg: 'in a call' })
  for (let ms = 0; ms < 400_000; ms += 20_000) {
    elsewhere.touch(alice, 'online')
    await clock.advance(20_000)
  }
  // Nobody who is busy becomes idle, and a second device that is online changes nothing.
  presence.touch({ ...alice, device: parseDeviceId('B') }, 'online')
  expect(await elsewhere.get(alice.user)).toMatchObject({ ...busy, currentlyActive: false })
  reads(alice.user)
  expect(await presence.get(alice.user)).toMatchObject(busy)
  await elsewhere.set(alice, { presence: 'online' })
  for (const one of [presence, elsewhere]) {
    await expect.poll(async () => (await one.get(alice.user)).presence).toBe('online')
  }
  await presence.set(alice, { presence: 'org.matrix.msc3026.busy' })
  await clock.advance(60_000)
  presence.touch(alice, 'online')
  expect(await presence.get(alice.user)).toMatchObject({ presence: 'online' })
})

it('is known to the other processes, and the status outlives them all', async () => {
  const { alice, presence, start } = setUp('spread')
  const elsewhere = start()
  await presence.set(alice, { presence: 'online', statusMsg: 'hello' })
  await expect
    .poll(() => elsewhere.get(alice.user))
    .toMatchObject({ presence: 'online', statusMsg: 'hello' })
  await presence[Symbol.asyncDispose]()
  await elsewhere[Symbol.asyncDispose]()
  const later = start()
  const stranger = parseUserId('@nobody:here.test')
  expect(await later.getMany([stranger, alice.user])).toMatchObject([
    { presence: 'offline', lastActiveTs: 0 },
    { presence: 'offline', statusMsg: 'hello' },
  ])
  expect(await later.get(alice.user)).toMatchObject({ presence: 'offline', statusMsg: 'hello' })
})

it('of another server is what that server says, for users with whom a room is shared', async () => {
  const { presence, clock } = setUp('remote')
  const stranger = parseUserId('@stranger:far.test')
  await presence.onRemotePresence(far, [
    {
      user_id: dave,
      presence: 'online',
      last_active_ago: 1_000,
      status_msg: 'hi',
      currently_active: true,
    },
    { user_id: stranger, presence: 'online' },
    { user_id: bob, presence: 'online' },
  ])
  expect(await presence.get(dave)).toMatchObject({
    presence: 'online',
    statusMsg: 'hi',
    currentlyActive: true,
  })
  expect(presence.peek(dave)).toMatchObject({ presence: 'online' })
  await clock.advance(600_000)
  expect(await presence.get(dave)).toMatchObject({ presence: 'online', currentlyActive: true })
  expect(await presence.get(stranger)).toMatchObject({ presence: 'offline' })
  expect(await presence.get(bob)).toMatchObject({ presence: 'offline' })
})

it('of another server counts once its user has come into a room, when it came a little early', async () => {
  const { presence, memberships, clock, joins } = setUp('early')
  const [erin, late] = ['@erin:far.test', '@late:far.test'].map(parseUserId)
  if (!erin || !late) throw new Error('two users')
  const online = (user_id: UserId) => ({
    user_id,
    presence: 'online' as const,
    status_msg: 'early',
  })
  await presence.onRemotePresence(far, [online(late)])
  await clock.advance(60_000)
  await presence.onRemotePresence(far, [online(erin)])
  expect(await presence.get(erin)).toMatchObject({ presence: 'offline' })
  for (const user of [erin, late]) {
    memberships.set(room, user, 'join')
    joins(user)
  }
  await expect.poll(() => presence.get(erin)).toMatchObject({ statusMsg: 'early' })
  expect(await presence.get(late)).toMatchObject({ presence: 'offline' })
})

it('is shown to those who share a room', async () => {
  const { alice, presence } = setUp('shown')
  expect(await presence.see(alice, bob)).toMatchObject({ presence: 'offline' })
  await expect(presence.see(alice, parseUserId('@stranger:here.test'))).rejects.toMatchObject({
    errcode: 'M_FORBIDDEN',
  })
})

it('is always offline when switched off', async () => {
  const { alice, start } = setUp('off')
  const presence = start(false)
  await presence.set(alice, { presence: 'online', statusMsg: 'x' })
  presence.touch(alice, 'online')
  expect(await presence.get(alice.user)).toEqual({
    presence: 'offline',
    lastActiveTs: 0,
    currentlyActive: false,
  })
})
