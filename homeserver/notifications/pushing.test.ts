import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  parseEventId,
  parseRoomId,
  parseServerName,
  parseUserId,
  type RoomId,
  type UserId,
} from '../../spec/ids.ts'
import { type JsonObject, objectAt, stringAt } from '../../spec/json.ts'
import { createAccountData } from '../accounts/account-data.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { createReceipts, type Receipts } from '../receipts/receipts.ts'
import { createTestEvents, type TestEvents } from '../receipts/test-events.ts'
import { type TestMemberships, testMemberships } from '../rooms/test-memberships.ts'
import { ownerAmong } from '../stream/rendezvous.ts'
import { type TestStream, testStream } from '../stream/test-stream.ts'
import { createNotifications, type Notifications } from './notifications.ts'
import { createPushRules, type PushRules } from './push-rules.ts'
import { quietPushing } from './test-pushing.ts'

const here = parseServerName('here.test')
const url = 'https://push.test/_matrix/push/v1/notify'
let clock: FakeClock
let database: TestDatabase
let log: TestStream
let events: TestEvents
let memberships: TestMemberships
let receipts: Receipts
let pushRules: PushRules
const ignored = new Map<UserId, ReadonlySet<UserId>>()
/** How often the next questions fail, as they do without the database. */
let hiccups = 0

/** What the gateway took, and who of the processes sent it. */
let taken: { readonly by: string; readonly body: JsonObject }[]
let isDown = false
/** Requests that the gateway did not take. */
let tries = 0
const rejected = new Set<string>()
let live: { id: string }[]
const listeners = new Map<string, () => void>()
const open = new Set<Notifications>()

beforeAll(async () => {
  clock = new FakeClock()
  database = await testDatabase()
  log = testStream(database.db)
  memberships = testMemberships(here)
  events = createTestEvents(log.writer)
  const common = { db: database.db, log: log.writer, tail: log.tail, clock, memberships, events }
  pushRules = createPushRules(common)
  receipts = createReceipts({ ...common, accountData: createAccountData({ ...common, pushRules }) })
  log.tail.loader('event', async (rows) => {
    const found = await events.get(rows.map(({ ref }) => parseEventId(`$event${ref}`)))
    return rows.map(({ ref }) => ({
      event: found.get(parseEventId(`$event${ref}`)),
      changesState: false,
    }))
  })
  await log.start()
})
beforeEach(async () => {
  // What the processes of other tests left is forgotten, as it is half a minute after their end.
  await database.db`delete from push_progress`
  taken = []
  isDown = false
  tries = 0
  live = []
})
afterEach(async () => {
  for (const one of open) await stop(one)
})
afterAll(async () => {
  await log[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

/** A process of the server, among those that are live. */
function start(id: string): Notifications {
  live.push({ id })
  const notifications = createNotifications({
    ...quietPushing,
    ...{ db: database.db, tail: log.tail, writer: log.writer, clock, serverName: here },
    ...{ memberships, receipts, pushRules },
    events: { ...events, newest: async () => [] },
    async ignoredUsers(user) {
      if (hiccups-- > 0) throw new Error('no database')
      return ignored.get(user) ?? new Set()
    },
    owns: (name) => ownerAmong(live, name)?.id === id,
    processes: {
      self: id,
      others: () => live.filter((one) => one.id !== id).map((one) => ({ ...one, address: '' })),
      onChange: (listener) => {
        listeners.set(id, listener)
        return { [Symbol.dispose]: () => void listeners.delete(id) }
      },
    },
    pushGateways: {
      accepts: () => true,
      notify: async (_, body) => {
        if (isDown) {
          tries += 1
          throw new Error('down')
        }
        taken.push({ by: id, body })
        return [...rejected]
      },
    },
  })
  open.add(notifications)
  notifications.start()
  return notifications
}

async function stop(notifications: Notifications): Promise<void> {
  open.delete(notifications)
  await notifications[Symbol.asyncDispose]()
}

function roomOf(name: string, users: readonly UserId[]): RoomId {
  const room = parseRoomId(`!${name}:here.test`)
  for (const user of users) memberships.set(room, user, 'join', log.tail.position)
  return room
}

const bob = parseUserId('@bob:here.test')
const say = (room: RoomId, body: string) => events.send(room, bob, { msgtype: 'm.text', body })

async function phoneOf(notifications: Notifications, name: string): Promise<UserId> {
  const user = parseUserId(`@${name}:here.test`)
  const pusher = {
    ...{ appId: 'app', pushkey: `key of ${name}`, kind: 'http', appDisplayName: 'App' },
    ...{ deviceDisplayName: 'Phone', lang: 'en', data: { url }, enabled: true },
  }
  await notifications.pushers.set({ user, guest: false, admin: false }, pusher, false)
  return user
}

/** Lets time pass until the gateway was told of what was said last; the deadline is 20 s of real time. */
async function until(test: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000
  while (!test()) {
    if (performance.now() > deadline) throw new Error(`it never came: ${JSON.stringify(taken)}`)
    await clock.advance(1_000)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

const bodies = () =>
  taken.flatMap(({ body }) => stringAt(objectAt(body, 'content') ?? {}, 'body') ?? [])
const said = (text: string) => () => bodies().includes(text)

describe('pushing', () => {
  it('goes on after a restart with what the gateway did not take', async () => {
    const first = start('p1')
    const alice = await phoneOf(first, 'alice')
    const room = roomOf('restart', [alice, bob])
    await say(room, 'before')
    await until(said('before'))
    isDown = true
    await say(room, 'while down')
    await until(() => tries > 1)
    await stop(first)
    isDown = false
    live = []
    start('p2')
    await until(said('while down'))
    expect(bodies()).toEqual(['before', 'while down'])
  })

  it('tells nothing late that was read in the meantime', async () => {
    const server = start('p1')
    const anna = await phoneOf(server, 'anna')
    const room = roomOf('late', [anna, bob])
    isDown = true
    const first = await say(room, 'read by then')
    const second = await say(room, 'not read')
    await until(() => tries > 1)
    const who = { user: anna, guest: false, admin: false }
    await receipts.mark(who, room, 'm.read', first.pdu.eventId)
    isDown = false
    await until(said('not read'))
    expect(bodies()).toEqual(['not read'])
    await receipts.mark(who, room, 'm.read', second.pdu.eventId)
  })

  it('is done by one process for each user', async () => {
    const [one] = [start('p1'), start('p2'), start('p3')]
    const users: UserId[] = []
    for (let n = 0; n < 6; n++) users.push(await phoneOf(one, `shared${n}`))
    const room = roomOf('shared', [...users, bob])
    await say(room, 'hello')
    await until(() => bodies().length === users.length)
    await say(room, 'again')
    await until(() => bodies().length === 2 * users.length)
    const keys = taken.map(({ body }) => JSON.stringify([body['event_id'], body['devices']]))
    expect(new Set(keys).size).toBe(keys.length)
    expect(new Set(taken.map(({ by }) => by)).size).toBeGreaterThan(1)
  })

  it('is taken over from a process that died', async () => {
    const survivor = start('p1')
    const dying = start('p2')
    const users: UserId[] = []
    for (let n = 0; n < 6; n++) users.push(await phoneOf(survivor, `orphan${n}`))
    const room = roomOf('orphans', [...users, bob])
    await say(room, 'hello')
    await until(() => bodies().length === users.length)
    // Both store how far they are; then one stops to look, without a word.
    await clock.advance(5_000)
    await stop(dying)
    await say(room, 'nobody there')
    live = [{ id: 'p1' }]
    listeners.get('p1')?.()
    await until(() => bodies().filter((text) => text === 'nobody there').length >= users.length)
    const told = taken.filter(
      ({ body }) => stringAt(objectAt(body, 'content') ?? {}, 'body') === 'nobody there',
    )
    const keys = new Set(told.map(({ body }) => JSON.stringify(body['devices'])))
    expect(keys.size).toBe(users.length)
  })

  it('ends for a key that is rejected', async () => {
    const server = start('p1')
    const zoe = await phoneOf(server, 'zoe')
    const room = roomOf('rejected', [zoe, bob])
    rejected.add('key of zoe')
    await say(room, 'last')
    await until(said('last'))
    const deadline = performance.now() + 20_000
    while ((await server.pushers.list(zoe)).length > 0 && performance.now() < deadline) {
      await clock.advance(100)
    }
    expect(await server.pushers.list(zoe)).toEqual([])
  })

  it('looks again when it could not look', async () => {
    const server = start('p1')
    const nora = await phoneOf(server, 'nora')
    const room = roomOf('hiccup', [nora, bob])
    hiccups = 3
    await say(room, 'in a bad moment')
    await until(said('in a bad moment'))
    expect(bodies()).toEqual(['in a bad moment'])
  })

  it('leaves out whom the user ignores', async () => {
    const server = start('p1')
    const dora = await phoneOf(server, 'dora')
    const room = roomOf('ignored', [dora, bob, parseUserId('@eve:here.test')])
    ignored.set(dora, new Set([bob]))
    await say(room, 'unheard')
    const eve = parseUserId('@eve:here.test')
    await events.send(room, eve, { msgtype: 'm.text', body: 'heard' })
    await until(said('heard'))
    expect(bodies()).toEqual(['heard'])
  })

  it('lowers the badge when an invite is answered', async () => {
    const server = start('p1')
    const gina = await phoneOf(server, 'gina')
    const room = parseRoomId('!invites:here.test')
    const setMembership = async (membership: 'invite' | 'leave') => {
      memberships.set(room, gina, membership, log.tail.position)
      await events.send(room, bob, { membership }, { type: 'm.room.member', stateKey: gina })
    }
    const badges = () => taken.map(({ body }) => objectAt(body, 'counts')?.['unread'])
    await setMembership('invite')
    await until(() => badges().at(-1) === 1)
    await setMembership('leave')
    await until(() => badges().at(-1) === 0)
    expect(taken.at(-1)?.body).not.toHaveProperty('event_id')
  })
})
