import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseRoomId, parseUserId, type RoomId, type UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { say, setState, testRoom } from '../events/test-events.ts'
import { createMemoryBus } from '../platform/redis.ts'
import { ask, deviceOf, requester, type TestProcess, testProcess } from './test-sync.ts'

/** Whatever is written in whatever order, and whichever process is asked: each client sees the truth, once. */

let database: TestDatabase
let processes: TestProcess[]
beforeAll(async () => {
  database = await testDatabase()
  const bus = createMemoryBus()
  processes = [
    await testProcess(database, { bus: bus.connect() }),
    await testProcess(database, { bus: bus.connect() }),
  ]
  const [writing, reading] = [process(0).tail, process(1).tail]
  writing.subscribe('hints', (rows) => reading.hint(rows.at(-1)?.position ?? 0))
}, 60_000)
afterAll(async () => {
  for (const one of processes) await one[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

let count = 0
const process = (n: number) => {
  const one = processes[n % processes.length]
  if (one === undefined) throw new Error('no process')
  return one
}

type Step =
  | { do: 'say' | 'topic' | 'member' | 'receipt' | 'toDevice' | 'data'; user: number; room: number }
  | { do: 'sync'; user: number; process: number; limit: number; stateAfter: boolean; wait: boolean }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom('say', 'topic', 'member', 'receipt', 'toDevice', 'data'),
      user: fc.nat(2),
      room: fc.nat(1),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('sync' as const),
      user: fc.nat(2),
      process: fc.nat(1),
      limit: fc.constantFrom(1, 3, 50),
      stateAfter: fc.boolean(),
      wait: fc.boolean(),
    }),
  },
)

interface KnownRoom {
  readonly state: Map<string, string>
  readonly seen: string[]
  gap: boolean
}

/** What a client has made of its answers. */
class Client {
  readonly user: UserId
  since: string | undefined
  stateAfter = false
  /** Rooms by id: event of each state key, and the ids of the timeline. */
  readonly rooms = new Map<RoomId, KnownRoom>()
  readonly messages: JsonObject[] = []
  data: unknown
  constructor(user: UserId) {
    this.user = user
  }

  async sync(at: TestProcess, limit: number, timeoutMs: number): Promise<void> {
    const filter = { room: { timeline: { limit } } }
    const query = { filter, timeoutMs, useStateAfter: this.stateAfter }
    const answer = await ask(at, this.user, {
      ...query,
      ...(this.since !== undefined && { since: this.since }),
    })
    this.since = answer.next_batch
    for (const [room, entry] of entriesOf(answer.rooms?.join)) {
      const known: KnownRoom = this.rooms.get(room) ?? { state: new Map(), seen: [], gap: false }
      this.rooms.set(room, known)
      const timeline = entry.timeline?.events ?? []
      if (entry.timeline?.limited) known.gap = true
      const before = (this.stateAfter ? entry.state_after : entry.state)?.events ?? []
      for (const event of this.stateAfter ? before : [...before, ...timeline]) {
        if (event['state_key'] === undefined) continue
        known.state.set(`${event['type']}|${event['state_key']}`, String(event['event_id']))
      }
      known.seen.push(...timeline.map((event) => String(event['event_id'])))
    }
    for (const [room] of entriesOf(answer.rooms?.leave)) this.rooms.delete(room)
    this.messages.push(...(answer.to_device?.events ?? []))
    for (const { type, content } of answer.account_data?.events ?? []) {
      if (type === 'x.data') this.data = content
    }
  }
}

function entriesOf<V>(record: Record<RoomId, V> | undefined): [RoomId, V][] {
  return Object.entries(record ?? {}).map(([room, value]) => [parseRoomId(room), value])
}

it('adds up to the truth', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 40 }),
      fc.boolean(),
      async (steps, stateAfter) => {
        const names = ['a', 'b', 'c'].map((name) => parseUserId(`@${name}${count++}:here.test`))
        const user = (n: number) => names[n % 3] ?? parseUserId('@x:here.test')
        const home = process(0)
        const rooms = [await testRoom(home, user(0)), await testRoom(home, user(0))]
        const room = (n: number) => rooms[n % 2] ?? parseRoom()
        const clients = names.map((name) => new Client(name))
        for (const client of clients) client.stateAfter = stateAfter
        const sent = new Map<UserId, number>()
        let data = 0
        const write = async (one: Exclude<Step, { do: 'sync' }>) => {
          const who = user(one.user)
          const where = room(one.room)
          const isIn = await home.memberships.isJoined(who, where)
          if (one.do === 'member') {
            if (one.user === 0) return
            const membership = isIn ? 'leave' : 'join'
            await setState(home, where, who, 'm.room.member', who, { membership })
          } else if (one.do === 'toDevice') {
            const to = user(one.user + 1)
            sent.set(to, (sent.get(to) ?? 0) + 1)
            const messages = { [to]: { [deviceOf(to)]: { n: sent.get(to) ?? 0 } } }
            await home.toDevice.send(requester(who), 'x', messages, `t${count++}`)
          } else if (one.do === 'data') {
            await home.accountData.set(who, 'x.data', { n: ++data })
          } else if (isIn && one.do === 'say') await say(home, where, who, 'x')
          else if (isIn && one.do === 'topic') {
            await setState(home, where, user(0), 'm.room.topic', '', { topic: `${count++}` })
          } else if (isIn) {
            const event = await say(home, where, who, 'read')
            await home.receipts.mark(requester(who), where, 'm.read', event.pdu.eventId)
          }
        }
        const waiting: Promise<void>[] = []
        const busy = new Set<Client>()
        for (const one of steps) {
          if (one.do !== 'sync') {
            await write(one)
            continue
          }
          const client = clients[one.user]
          if (client === undefined || busy.has(client)) continue
          const done = client.sync(process(one.process), one.limit, one.wait ? 300 : 0)
          if (one.wait) {
            busy.add(client)
            waiting.push(done.finally(() => busy.delete(client)))
          } else await done
        }
        await Promise.all(waiting)
        for (const client of clients) {
          await client.sync(process(1), 50, 0)
          await client.sync(process(0), 50, 0)
          const joined = []
          for (const where of rooms) {
            if (!(await home.memberships.isJoined(client.user, where))) continue
            joined.push(where)
            const known = client.rooms.get(where)
            const truth = [...(await home.events.currentState(where))].map(
              ([key, { pdu }]): [string, string] => [key.replace('\u0000', '|'), pdu.eventId],
            )
            expect(Object.fromEntries(known?.state ?? [])).toEqual(Object.fromEntries(truth))
            expect(new Set(known?.seen).size).toBe(known?.seen.length)
            const all = (await home.events.timeline(where, everything)).events.map(({ pdu }) =>
              String(pdu.eventId),
            )
            // What was seen is in the room's order, and without a gap it is all.
            const order = known?.seen.map((id) => all.indexOf(id)) ?? []
            expect(order).toEqual([...order].sort((x, y) => x - y))
            if (known?.gap === false) expect(known.seen).toEqual(all.slice(-known.seen.length))
          }
          expect([...client.rooms.keys()].sort()).toEqual(joined.sort())
          expect(client.messages.map(({ content }) => content)).toEqual(
            Array.from({ length: sent.get(client.user) ?? 0 }, (_, n) => ({ n: n + 1 })),
          )
        }
      },
    ),
    { numRuns: 15 },
  )
}, 600_000)

const everything = { after: 0, upTo: Number.MAX_SAFE_INTEGER, limit: 1_000 }

function parseRoom(): never {
  throw new Error('no room')
}
