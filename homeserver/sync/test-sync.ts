import {
  type EventId,
  parseDeviceId,
  parseServerName,
  type RoomId,
  type UserId,
} from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { type AccountData, createAccountData } from '../accounts/account-data.ts'
import type { TestDatabase } from '../database/test-database.ts'
import { createDeviceLists, type DeviceLists } from '../encryption/device-lists.ts'
import { createEncryption } from '../encryption/encryption.ts'
import { createToDevice, type ToDevice } from '../encryption/to-device.ts'
import { createEvents } from '../events/create-events.ts'
import type { Events } from '../events/events.ts'
import { testNeeds } from '../events/test-events.ts'
import { createNotifications } from '../notifications/notifications.ts'
import { createPushRules, type PushRules } from '../notifications/push-rules.ts'
import { quietPushing } from '../notifications/test-pushing.ts'
import {
  createThreadSubscriptions,
  type ThreadSubscriptions,
} from '../notifications/thread-subscriptions.ts'
import { systemClock } from '../platform/clock.ts'
import { silentLogger } from '../platform/log.ts'
import { systemRandom } from '../platform/random.ts'
import { type Bus, createMemoryBus } from '../platform/redis.ts'
import { createPresence, type Presence } from '../presence/presence.ts'
import { createReceipts, type Receipts } from '../receipts/receipts.ts'
import { createTyping, type Typing } from '../receipts/typing.ts'
import { createClientEvents } from '../rooms/client-event.ts'
import { membershipRowOf } from '../rooms/membership-row.ts'
import { createMemberships } from '../rooms/memberships.ts'
import type { Memberships, Requester } from '../rooms/rooms.ts'
import type { LogWriter } from '../stream/log.ts'
import type { RunningTail } from '../stream/tail.ts'
import { testStream } from '../stream/test-stream.ts'
import { textOf } from './old-forms.ts'
import { createSync, type Sync, type SyncNeeds } from './sync.ts'

/** One process with everything that syncs read, over a test's database. */
export interface TestProcess extends AsyncDisposable {
  readonly name: ReturnType<typeof parseServerName>
  readonly database: TestDatabase
  readonly events: Events
  readonly memberships: Memberships
  readonly accountData: AccountData
  readonly pushRules: PushRules
  readonly receipts: Receipts
  readonly typing: Typing
  readonly presence: Presence
  readonly threadSubscriptions: ThreadSubscriptions
  readonly toDevice: ToDevice
  readonly deviceLists: DeviceLists
  readonly writer: LogWriter
  readonly tail: RunningTail
  readonly sync: Sync
  /** Statements that the process has sent. */
  readonly statements: () => number
}

export interface TestProcessOptions {
  readonly bus?: Bus
  /** The log that it could read back is gone: what is older than its start is in the tables alone. */
  readonly isForgetful?: boolean
}

const peers = new Map()
export const deviceOf = (user: UserId) => parseDeviceId(`DEVICE${user.slice(1, 6)}`)

export async function testProcess(
  database: TestDatabase,
  { bus = createMemoryBus().connect(), isForgetful = false }: TestProcessOptions = {},
): Promise<TestProcess> {
  const serverName = parseServerName('here.test')
  const { db, statements } = counted(database)
  const stream = testStream(db)
  const { tail, writer, self } = stream
  const clock = systemClock
  const base = { db, clock, random: systemRandom, serverName, tail, log: writer, bus }
  const { key, keys, remote } = testNeeds(serverName, peers)
  const pushRules = createPushRules(base)
  const accountData = createAccountData({ ...base, pushRules })
  const memberships = createMemberships(base)
  const log = silentLogger
  const events = createEvents({
    ...{ ...base, key, keys, remote, writer, log },
    membershipRow: membershipRowOf,
  })
  const deviceNames = async (users: readonly UserId[]) =>
    new Map(users.map((user) => [user, new Map([[deviceOf(user), undefined]])]))
  const shared = { ...base, memberships, events, accountData, pushRules, deviceNames, remote }
  const deviceLists = createDeviceLists(shared)
  const encryption = createEncryption({ ...shared, deviceLists, logger: log })
  const toDevice = createToDevice(shared)
  const receipts = createReceipts(shared)
  const typing = createTyping(shared)
  const presence = createPresence({ ...shared, self, enabled: true })
  const notifications = createNotifications({ ...shared, ...quietPushing, receipts, writer })
  const clientEvents = createClientEvents(shared)
  const rooms = { clientEvent: clientEvents.text, preload: clientEvents.preload }
  const seenBy = async (_: Requester, __: RoomId, id: EventId) => {
    const event = (await events.get([id])).get(id)
    if (event === undefined) throw new Error('no such event')
    return { event, membership: 'join' }
  }
  const threadSubscriptions = createThreadSubscriptions({ ...shared, rooms: { event: seenBy } })
  const slices = {
    ...{ deviceLists, encryption, toDevice, receipts, typing, presence, notifications },
    threadSubscriptions,
  }
  const shortTail: SyncNeeds['tail'] = {
    get position() {
      return tail.position
    },
    subscribe: (name, onRows) => tail.subscribe(name, onRows),
    reached: (position, timeoutMs) => tail.reached(position, timeoutMs),
    read: (from, limit) => tail.read(from, limit),
    oldest: async () => Number.MAX_SAFE_INTEGER,
  }
  const seenTail = isForgetful ? shortTail : tail
  const sync = createSync({ ...shared, ...slices, rooms, log, tail: seenTail })
  await stream.start()
  return {
    ...{ name: serverName, database, ...shared, ...slices, writer, tail, sync, statements },
    async [Symbol.asyncDispose]() {
      await notifications[Symbol.asyncDispose]()
      await presence[Symbol.asyncDispose]()
      typing[Symbol.dispose]()
      await stream[Symbol.asyncDispose]()
    },
  }
}

/** A database that counts what it is asked. */
function counted({ db }: TestDatabase) {
  let count = 0
  const counting = new Proxy(db, {
    apply(target, self, args) {
      count += 1
      return Reflect.apply(target, self, args)
    },
    get(target, name) {
      const value = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        if (name === 'query') count += 1
        return Reflect.apply(value, target, args)
      }
    },
  })
  return { db: counting, statements: () => count }
}

export const requester = (user: UserId): Requester => ({
  user,
  device: deviceOf(user),
  guest: false,
  admin: false,
})

export interface TestQuery {
  readonly since?: string
  readonly timeoutMs?: number
  readonly filter?: JsonObject
  readonly fullState?: boolean
  readonly useStateAfter?: boolean
  readonly signal?: AbortSignal
}

interface Entry {
  readonly timeline?: { events: JsonObject[]; limited?: boolean; prev_batch?: string }
  readonly state?: { events: JsonObject[] }
  readonly state_after?: { events: JsonObject[] }
  readonly ephemeral?: { events: JsonObject[] }
  readonly account_data?: { events: JsonObject[] }
  readonly summary?: JsonObject
  readonly unread_notifications?: JsonObject
  readonly invite_state?: { events: JsonObject[] }
}

export interface TestAnswer {
  readonly next_batch: string
  readonly rooms?: Partial<Record<'join' | 'invite' | 'leave' | 'knock', Record<RoomId, Entry>>>
  readonly presence?: { events: JsonObject[] }
  readonly account_data?: { events: JsonObject[] }
  readonly to_device?: { events: JsonObject[] }
  readonly device_lists?: { changed: string[]; left: string[] }
  readonly device_one_time_keys_count?: JsonObject
}

/** Asks as a client would. */
export async function ask(
  { sync }: Pick<TestProcess, 'sync'>,
  user: UserId,
  query: TestQuery = {},
): Promise<TestAnswer> {
  const { filter, since, timeoutMs = 0, fullState = false, useStateAfter = false } = query
  const answer = await sync.sync(
    requester(user),
    {
      ...{ timeoutMs, fullState, useStateAfter, setPresence: 'offline' },
      ...(filter !== undefined && { filter: JSON.stringify(filter) }),
      ...(since !== undefined && { since }),
    },
    query.signal ?? new AbortController().signal,
  )
  return JSON.parse(await textOf(answer))
}
