/**
 * Whatever is written in whatever order, whichever process is asked, whatever is lost or begun again: what a client
 * was told adds up to the truth. `FOLKMOOT_SYNC_RUNS` and `FOLKMOOT_SEED` make more or other runs of it.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type EventId, parseUserId, type RoomId, type UserId } from '../../spec/ids.ts'
import { matchesEvent, parseRoomEventFilter } from '../../spec/sync/filter.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { say, setState, testRoom } from '../events/test-events.ts'
import { createMemoryBus } from '../platform/redis.ts'
import { type Habits, TestClient } from './test-client.ts'
import { deviceOf, requester, type TestProcess, testProcess } from './test-sync.ts'

const runs = Number(process.env['FOLKMOOT_SYNC_RUNS'] ?? 60)
const seed = Number(process.env['FOLKMOOT_SEED'] ?? 1)

let database: TestDatabase
let processes: TestProcess[]
beforeAll(async () => {
  database = await testDatabase()
  const bus = createMemoryBus()
  processes = [
    await testProcess(database, { bus: bus.connect() }),
    await testProcess(database, { bus: bus.connect() }),
  ]
  const [one, other] = [processOf(0).tail, processOf(1).tail]
  one.subscribe('hints', (rows) => other.hint(rows.at(-1)?.position ?? 0))
  other.subscribe('hints', (rows) => one.hint(rows.at(-1)?.position ?? 0))
}, 60_000)
afterAll(async () => {
  for (const one of processes) await one[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

let count = 0

function processOf(n: number): TestProcess {
  const one = processes[n % processes.length]
  if (one === undefined) throw new Error('no process')
  return one
}

const writes = [
  'say',
  'topic',
  'member',
  'invite',
  'rename',
  'receipt',
  'privateReceipt',
  'redact',
  'toDevice',
  'data',
  'roomData',
] as const

interface Write {
  readonly do: (typeof writes)[number]
  readonly user: number
  readonly room: number
  readonly process: number
}

interface Syncing {
  readonly do: 'sync'
  readonly user: number
  readonly process: number
  readonly limit: number
  readonly waits: boolean
  readonly isLost: boolean
}

interface Restarting {
  readonly do: 'save' | 'restart'
  readonly user: number
}

type Step = Write | Syncing | Restarting

const user = fc.nat(2)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      ...{ do: fc.constantFrom(...writes), user },
      ...{ room: fc.nat(1), process: fc.nat(1) },
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      ...{ do: fc.constant('sync' as const), user, process: fc.nat(1) },
      limit: fc.constantFrom(0, 1, 3, 50),
      waits: fc.boolean(),
      isLost: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom('save' as const, 'restart' as const), user }),
  },
)

const habits: fc.Arbitrary<Habits> = fc.record({
  stateAfter: fc.boolean(),
  isLazy: fc.boolean(),
  timeline: fc.constantFrom({}, {}, { types: ['m.room.message'] }, { not_types: ['m.room.m*'] }),
})

/** Three people, two rooms, and what was written of them. */
class World {
  readonly users: readonly UserId[]
  readonly rooms: readonly RoomId[]
  readonly sent = new Map<UserId, number>()
  data = 0

  constructor(users: readonly UserId[], rooms: readonly RoomId[]) {
    this.users = users
    this.rooms = rooms
  }

  static async open(): Promise<World> {
    const users = ['a', 'b', 'c'].map((name) => parseUserId(`@${name}${count++}:here.test`))
    const [owner = parseUserId('@x:here.test')] = users
    const home = processOf(0)
    return new World(users, [await testRoom(home, owner), await testRoom(home, owner)])
  }

  async write(one: Write): Promise<void> {
    const who = this.users[one.user]
    const where = this.rooms[one.room]
    const [owner] = this.users
    if (who === undefined || where === undefined || owner === undefined) return
    // Events are made by the process that has the room; the rest by any.
    const owning = processOf(0)
    const at = processOf(one.process)
    await this.settled()
    const membership = (await at.memberships.ofRoom(where)).get(who)?.membership
    const isIn = membership === 'join'
    const become = (to: string, by = who, more = {}) =>
      setState(owning, where, by, 'm.room.member', who, { membership: to, ...more })
    switch (one.do) {
      case 'member':
        if (who !== owner) await become(isIn ? 'leave' : 'join')
        return
      case 'invite':
        if (!isIn && membership !== 'invite') await become('invite', owner)
        return
      case 'rename':
        if (isIn) await become('join', who, { displayname: `${count++}` })
        return
      case 'toDevice': {
        const to = this.users[(one.user + 1) % this.users.length] ?? who
        const n = (this.sent.get(to) ?? 0) + 1
        this.sent.set(to, n)
        const messages = { [to]: { [deviceOf(to)]: { n } } }
        return await at.toDevice.send(requester(who), 'x', messages, `t${count++}`)
      }
      case 'data':
        return await at.accountData.set(who, 'x.data', { n: ++this.data })
      case 'roomData':
        return await at.accountData.setRoom(who, where, 'x.room', { n: ++this.data })
    }
    if (!isIn) return
    switch (one.do) {
      case 'say':
        await say(owning, where, who, 'x')
        return
      case 'topic':
        await setState(owning, where, owner, 'm.room.topic', '', { topic: `${count++}` })
        return
      case 'receipt':
      case 'privateReceipt': {
        const type = one.do === 'receipt' ? 'm.read' : 'm.read.private'
        const event = await newest(at, where)
        if (event !== undefined) await at.receipts.mark(requester(who), where, type, event)
        return
      }
      case 'redact': {
        const redacts = await newest(at, where)
        if (redacts === undefined) return
        const content = { redacts }
        const draft = { type: 'm.room.redaction', sender: owner, content, redacts }
        await owning.events.append(where, () => ({ kind: 'append', draft }))
      }
    }
  }

  /** Both processes know what was written in either. */
  async settled(): Promise<void> {
    const position = Math.max(...processes.map(({ tail }) => tail.position))
    for (const { tail } of processes) expect(await tail.reached(position, 10_000)).toBe(true)
  }
}

async function newest(at: TestProcess, room: RoomId): Promise<EventId | undefined> {
  const { events } = await at.events.timeline(room, everything)
  return events.findLast(({ pdu }) => pdu.type === 'm.room.message')?.pdu.eventId
}

const everything = { after: 0, upTo: Number.MAX_SAFE_INTEGER, limit: 1_000 }

async function play(world: World, clients: readonly TestClient[], steps: readonly Step[]) {
  const waiting: Promise<void>[] = []
  const busy = new Set<TestClient>()
  for (const one of steps) {
    const client = clients[one.user]
    if (client === undefined) continue
    if (one.do === 'sync') {
      if (busy.has(client)) continue
      const timeoutMs = one.waits ? 200 : 0
      const done = client.sync(processOf(one.process), one.limit, timeoutMs, one.isLost)
      if (!one.waits) {
        await done
        continue
      }
      busy.add(client)
      waiting.push(done.finally(() => busy.delete(client)))
    } else if ('room' in one) await world.write(one)
    else if (!busy.has(client)) client[one.do]()
  }
  await Promise.all(waiting)
  await world.settled()
}

/** What the client knows is what is, as far as its filter lets it know. */
async function compare(world: World, client: TestClient): Promise<void> {
  const { memory, habits: how, user: self } = client
  const home = processOf(0)
  const joined: RoomId[] = []
  const invited: RoomId[] = []
  for (const room of world.rooms) {
    const membership = (await home.memberships.ofRoom(room)).get(self)?.membership
    if (membership === 'invite') invited.push(room)
    if (membership !== 'join') continue
    joined.push(room)
    const known = memory.rooms.get(room)
    if (known === undefined) throw new Error('a joined room is not known')
    const { events } = await home.events.timeline(room, everything)
    const filter = parseRoomEventFilter(how.timeline)
    const shown = events.filter(({ pdu }) => matchesEvent(filter, pdu))
    expect(known.seen).toEqual(shown.map(({ pdu }) => pdu.eventId))
    const truth = new Map<string, string>()
    for (const [key, { pdu }] of await home.events.currentState(room)) {
      const name = key.replace('\u0000', '|')
      const isKnownLate = how.isLazy && pdu.type === 'm.room.member' && !known.state.has(name)
      if (!isKnownLate) truth.set(name, pdu.eventId)
    }
    expect(Object.fromEntries(known.state)).toEqual(Object.fromEntries(truth))
    for (const sender of known.senders) expect(truth.has(`m.room.member|${sender}`)).toBe(true)
    await compareRest(world, client, room)
  }
  expect([...memory.rooms.keys()].sort()).toEqual(joined.sort())
  expect([...memory.invites].sort()).toEqual(invited.sort())
  expect([...client.messages]).toEqual(
    Array.from({ length: world.sent.get(self) ?? 0 }, (_, n) => n + 1),
  )
  const data = (await home.accountData.all(self)).find(({ type }) => type === 'x.data')
  expect(memory.data).toEqual(data && JSON.parse(data.content))
}

/** Receipts, counts of members, and account data of a room. */
async function compareRest(world: World, client: TestClient, room: RoomId): Promise<void> {
  const home = processOf(0)
  const known = client.memory.rooms.get(room)
  const receipts = new Map<string, string>()
  for (const user of world.users) {
    for (const { type, event_id } of await home.receipts.ofUser(room, user)) {
      const isShown = type === 'm.read' || user === client.user
      if (isShown) receipts.set(`${user} ${type}`, event_id)
    }
  }
  expect(Object.fromEntries(known?.receipts ?? [])).toEqual(Object.fromEntries(receipts))
  const rows = [...(await home.memberships.ofRoom(room)).values()]
  const counted = (wanted: string) => rows.filter(({ membership }) => membership === wanted).length
  expect(known?.counts.get('m.joined_member_count')).toBe(counted('join'))
  expect(known?.counts.get('m.invited_member_count')).toBe(counted('invite'))
  expect(known?.data).toEqual(await home.accountData.findRoom(client.user, room, 'x.room'))
}

it('adds up to the truth', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 50 }),
      fc.tuple(habits, habits, habits),
      async (steps, how) => {
        const world = await World.open()
        const clients = world.users.flatMap((name, n) => {
          const own = how[n]
          return own === undefined ? [] : [new TestClient(name, own)]
        })
        await play(world, clients, steps)
        for (const client of clients) {
          await client.sync(processOf(1), 50, 0)
          await client.sync(processOf(0), 3, 0)
          await compare(world, client)
        }
      },
    ),
    { numRuns: runs, seed },
  )
}, 7_200_000)
