import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseRoomId, parseUserId, type RoomId, type UserId } from '../../../spec/ids.ts'
import type { JsonObject } from '../../../spec/json.ts'
import { type TestDatabase, testDatabase } from '../../database/test-database.ts'
import { say, setState, testRoom } from '../../events/test-events.ts'
import { createMemoryBus } from '../../platform/redis.ts'
import { deviceOf, requester, type TestProcess, testProcess } from '../test-sync.ts'
import { type SlidingAnswer, type SlidingQuery, slide } from './test-sliding.ts'

/**
 * Whatever is written in whatever order, whichever windows are asked for at whichever process, and whatever answers are
 * lost: what a client was sent adds up to the truth.
 */
const runs = Number(process.env['FOLKMOOT_INTERLEAVINGS'] ?? 20)
const seed = Number(process.env['FOLKMOOT_SEED'] ?? 4186)

let database: TestDatabase
let processes: TestProcess[]
beforeAll(async () => {
  database = await testDatabase()
  const bus = createMemoryBus()
  processes = [
    await testProcess(database, { bus: bus.connect() }),
    await testProcess(database, { bus: bus.connect() }),
  ]
  const [writing, reading] = [at(0).tail, at(1).tail]
  writing.subscribe('hints', (rows) => reading.hint(rows.at(-1)?.position ?? 0))
}, 60_000)
afterAll(async () => {
  for (const one of processes) await one[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

let count = 0
const at = (n: number) => {
  const one = processes[n % processes.length]
  if (one === undefined) throw new Error('no process')
  return one
}

const usersMax = 3
const roomsMax = 4
const written = ['say', 'topic', 'member', 'kick', 'receipt', 'toDevice', 'data', 'direct'] as const

type Write = { do: (typeof written)[number]; user: number; room: number }
type Ask = {
  do: 'ask'
  user: number
  process: number
  first: number
  last: number
  limit: number
  state: 'whole' | 'lazy' | 'few'
  directOnly: boolean
  subscribe: number
  wait: boolean
  lost: boolean
}

const step: fc.Arbitrary<Write | Ask> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom(...written),
      user: fc.nat(usersMax - 1),
      room: fc.nat(roomsMax - 1),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('ask' as const),
      user: fc.nat(usersMax - 1),
      process: fc.nat(1),
      first: fc.nat(1),
      last: fc.nat(2),
      limit: fc.constantFrom(1, 3, 50),
      state: fc.constantFrom('whole', 'lazy', 'few'),
      directOnly: fc.constantFrom(false, false, true),
      subscribe: fc.nat(roomsMax + 2),
      wait: fc.boolean(),
      lost: fc.constantFrom(false, false, false, true),
    }),
  },
)

interface Known {
  readonly state: Map<string, string>
  readonly seen: string[]
  /** Something between what was seen is missing. */
  gap: boolean
  isDm: boolean
  joined: number
  membership: unknown
}

const all = { lists: ['*'], rooms: ['*'] }
const typesOf = ({ type, state_key }: JsonObject) => `${type}|${state_key}`

/** What a client has made of its answers. */
class Client {
  readonly user: UserId
  pos: string | undefined
  toDevice = 0
  readonly rooms = new Map<RoomId, Known>()
  readonly messages: unknown[] = []
  readonly data = new Map<string, unknown>()
  readonly receipts = new Set<string>()

  constructor(user: UserId) {
    this.user = user
  }

  async ask(home: TestProcess, query: SlidingQuery, isLost: boolean): Promise<void> {
    const answer = await slide(home, this.user, {
      ...query,
      ...(this.pos !== undefined && { pos: this.pos }),
      extensions: {
        ...{ accountData: all, receipts: all },
        toDevice: { limit: 2, ...(this.toDevice > 0 && { since: this.toDevice }) },
      },
    })
    if (!isLost) this.take(answer)
  }

  take({ pos, rooms, extensions }: SlidingAnswer): void {
    this.pos = pos
    for (const [id, entry] of Object.entries(rooms)) this.#takeRoom(parseRoomId(id), entry)
    this.messages.push(...(extensions.to_device?.events ?? []).map(({ content }) => content))
    this.toDevice = Number(extensions.to_device?.next_batch ?? 0)
    const data = extensions.account_data
    for (const { type, content } of data?.global ?? []) this.data.set(String(type), content)
    for (const [room, list] of Object.entries(data?.rooms ?? {})) {
      for (const { type, content } of list) this.data.set(`${room} ${type}`, content)
    }
    for (const [room, { content }] of Object.entries(extensions.receipts?.rooms ?? {})) {
      const events = typeof content === 'object' && content !== null ? Object.keys(content) : []
      for (const event of events) this.receipts.add(`${room} ${event}`)
    }
  }

  #takeRoom(room: RoomId, entry: SlidingAnswer['rooms'][RoomId]): void {
    const before = entry.initial ? undefined : this.rooms.get(room)
    const known: Known = before ?? {
      ...{ state: new Map(), seen: [], gap: false, isDm: false, joined: -1 },
      membership: entry.invite_state === undefined ? undefined : 'invite',
    }
    this.rooms.set(room, known)
    expect(entry.initial === true || before !== undefined).toBe(true)
    const ids = (entry.timeline ?? []).map((event) => String(event['event_id']))
    if (entry.unstable_expanded_timeline) {
      known.seen.length = 0
      known.gap = entry.limited === true
    } else if (entry.limited) known.gap = true
    // Nothing is told twice.
    for (const id of ids) expect(known.seen).not.toContain(id)
    known.seen.push(...ids)
    for (const event of entry.required_state ?? []) {
      known.state.set(typesOf(event), String(event['event_id']))
    }
    known.isDm = entry.is_dm ?? known.isDm
    known.joined = entry.joined_count ?? known.joined
    const own = (event: JsonObject) => typesOf(event) === `m.room.member|${this.user}`
    const last = [...(entry.timeline ?? []), ...(entry.required_state ?? [])].findLast(own)
    const { content } = last ?? {}
    if (typeof content === 'object' && content !== null && 'membership' in content) {
      known.membership = content['membership']
    }
  }
}

const wholeState = [{ include: [{}], exclude: [], lazyMembers: false }]
const states = {
  whole: wholeState,
  lazy: [{ include: [{}], exclude: [], lazyMembers: true }],
  few: [{ include: [{ type: 'm.room.create', stateKey: '' }], exclude: [], lazyMembers: false }],
}
const everything = { after: 0, upTo: Number.MAX_SAFE_INTEGER, limit: 1_000 }

async function play(steps: readonly (Write | Ask)[]): Promise<void> {
  const names = ['a', 'b', 'c'].map((name) => parseUserId(`@${name}${count++}:here.test`))
  const home = at(0)
  const [owner = parseUserId('@x:here.test')] = names
  const rooms: RoomId[] = []
  for (let n = 0; n < roomsMax; n++) rooms.push(await testRoom(home, owner))
  const clients = names.map((name) => new Client(name))
  const sent = new Map<UserId, number>()
  const data = new Map<string, JsonObject>()
  const direct = new Map<UserId, Set<RoomId>>()

  async function write({ do: what, user, room }: Write): Promise<void> {
    const who = names[user % names.length] ?? owner
    const where = rooms[room % rooms.length]
    if (where === undefined) return
    const isIn = await home.memberships.isJoined(who, where)
    const member = (membership: string, by: UserId) =>
      setState(home, where, by, 'm.room.member', who, { membership })
    switch (what) {
      case 'member':
        if (who !== owner) await member(isIn ? 'leave' : 'join', who)
        break
      case 'kick':
        if (who !== owner) await member(isIn ? 'leave' : 'invite', owner)
        break
      case 'toDevice': {
        const n = (sent.get(who) ?? 0) + 1
        sent.set(who, n)
        const messages = { [who]: { [deviceOf(who)]: { n } } }
        await home.toDevice.send(requester(who), 'x', messages, `t${count++}`)
        break
      }
      case 'data':
        data.set(`${who} ${where} x`, { n: count })
        await home.accountData.setRoom(who, where, 'x', { n: count++ })
        break
      case 'direct': {
        const list = direct.get(who) ?? new Set()
        direct.set(who, list)
        if (!list.delete(where)) list.add(where)
        await home.accountData.set(who, 'm.direct', { '@other:here.test': [...list] })
        break
      }
      case 'say':
        if (isIn) await say(home, where, who, 'x')
        break
      case 'topic':
        if (isIn) {
          await setState(home, where, owner, 'm.room.topic', '', { topic: `${count++}` })
        }
        break
      case 'receipt': {
        if (!isIn) return
        const event = await say(home, where, who, 'read')
        await home.receipts.mark(requester(who), where, 'm.read', event.pdu.eventId)
        break
      }
    }
  }

  const waiting: Promise<void>[] = []
  const busy = new Set<Client>()
  for (const one of steps) {
    if (one.do !== 'ask') {
      await write(one)
      continue
    }
    const client = clients[one.user]
    if (client === undefined || busy.has(client)) continue
    const done = client.ask(at(one.process), queryOf(one, rooms), one.lost)
    if (!one.wait) await done
    else {
      busy.add(client)
      waiting.push(done.finally(() => busy.delete(client)))
    }
  }
  await Promise.all(waiting)
  for (const client of clients) {
    // Once at each process, and as often as messages come two by two.
    const lists = { all: { timelineLimit: 50, required: wholeState } }
    for (let n = 0; n < 4 + (sent.get(client.user) ?? 0); n++) {
      await client.ask(at(n + 1), { lists }, false)
    }
    await compare(home, client, rooms)
    expect(client.messages).toEqual(
      Array.from({ length: sent.get(client.user) ?? 0 }, (_, n) => ({ n: n + 1 })),
    )
    for (const room of rooms) {
      if (!(await home.memberships.isJoined(client.user, room))) continue
      expect(client.data.get(`${room} x`)).toEqual(data.get(`${client.user} ${room} x`))
      expect(client.rooms.get(room)?.isDm).toBe(direct.get(client.user)?.has(room) ?? false)
    }
  }
}

function queryOf(one: Ask, rooms: readonly RoomId[]): SlidingQuery {
  const required = states[one.state]
  const room = rooms[one.subscribe]
  const ranges = [[Math.min(one.first, one.last), one.last] as const]
  return {
    timeoutMs: one.wait ? 300 : 0,
    lists: {
      all: {
        ...{ ranges, timelineLimit: one.limit, required },
        filters: one.directOnly ? { isDm: true } : {},
      },
    },
    subscriptions: room === undefined ? {} : { [room]: { timelineLimit: 3, required: wholeState } },
  }
}

async function compare(home: TestProcess, client: Client, rooms: readonly RoomId[]) {
  for (const room of rooms) {
    const known = client.rooms.get(room)
    const row = (await home.memberships.ofUser(client.user)).get(room)
    if (row?.membership !== 'join') {
      // Whatever the client had of the room, it knows that it is not in it.
      expect(known?.membership).not.toBe('join')
      expect(known?.membership === 'invite').toBe(row?.membership === 'invite')
      continue
    }
    const state = [...(await home.events.currentState(room))].map(
      ([key, { pdu }]): [string, string] => [key.replace('\u0000', '|'), pdu.eventId],
    )
    expect(Object.fromEntries(known?.state ?? [])).toEqual(Object.fromEntries(state))
    const timeline = (await home.events.timeline(room, everything)).events
    const order = timeline.map(({ pdu }) => String(pdu.eventId))
    const places = known?.seen.map((id) => order.indexOf(id)) ?? []
    expect(places).toEqual([...places].sort((x, y) => x - y))
    if (known?.gap === false) expect(known.seen).toEqual(order.slice(-known.seen.length))
    expect(known?.seen.at(-1)).toBe(order.at(-1))
    const members = [...(await home.memberships.ofRoom(room)).values()]
    expect(known?.joined).toBe(members.filter(({ membership }) => membership === 'join').length)
  }
}

it('adds up to the truth', async () => {
  const steps = fc.array(step, { minLength: 10, maxLength: 60 })
  await fc.assert(fc.asyncProperty(steps, play), { numRuns: runs, seed })
}, 900_000)
