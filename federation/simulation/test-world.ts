/** A whole simulation of one seed: servers, a room, rounds in which the network is bad, healing, and what must hold. */
import type { Database } from '../../homeserver/database/database.ts'
import { type EventId, parseServerName, type RoomId } from '../../spec/ids.ts'
import { type Chance, chanceOf } from './test-chance.ts'
import { createNetwork, type Network } from './test-network.ts'
import { createSchedule, type Schedule } from './test-schedule.ts'
import { idsShown, openSimServer, type SimServer } from './test-sim-server.ts'
import { beginStory, type Kind, kinds, type Story } from './test-story.ts'

/** What a simulation came to. */
export interface Outcome {
  readonly seed: number
  readonly kind: Kind
  readonly version: string
  /** What does not hold; empty when all is well. */
  readonly wrong: readonly string[]
  readonly events: number
  /** Virtual time from the end of the last cut until all servers agreed. */
  readonly healedMs: number
}

const startMs = 1_700_000_000_000
/** Each seed has a time of its own, so that nothing of one is taken for something of another. */
const spanMs = 1_000_000
/** Within this, in virtual time, all servers agree after the network was healed. */
export const healMaxMs = 300_000
const healStepMs = 5_000
const greetingsMax = 3
const setUpMaxMs = 120_000
const hourMs = 3_600_000
const tenYearsMs = 10 * 365.25 * 24 * hourMs
const versions = ['12', '12', '11', '10', '10', '9', '6', '4', '2', '1'] as const
const skews = [0, 0, 0, 0, hourMs, -hourMs, tenYearsMs, -tenYearsMs] as const

/** Plays the seed over these databases, of which the first few are used. */
export async function play(seed: number, databases: readonly Database[]): Promise<Outcome> {
  const chance = chanceOf(seed, 'world')
  const kind = chance.pick(kinds)
  const version = chance.pick(versions)
  const count = Math.min(databases.length, 2 + chance.below(3))
  const crashes: unknown[] = []
  const onCrash = (what: unknown) => void crashes.push(what)
  const schedule = createSchedule(startMs + seed * spanMs)
  const network = createNetwork(schedule, seed)
  const servers: SimServer[] = []
  try {
    for (const [at, database] of databases.slice(0, count).entries()) {
      const name = parseServerName(`${'abcd'.charAt(at)}.example`)
      const skewMs = chance.pick(skews)
      const needs = { name, database, schedule, network, seed, onCrash, skewMs: () => skewMs }
      servers.push(await until(schedule, openSimServer(needs)))
    }
    network.weather.delayMaxMs = 200
    const needs = { seed, kind, version, servers, onCrash }
    const story = await beginStory(needs, (work) => until(schedule, work))
    const world: World = { schedule, network, servers, story, kind, before: shownAnywhere(servers) }
    for (let rounds = 1 + chance.below(5); rounds > 0; rounds--) await storm(chance, world)
    calm(network)
    const healedMs = await heal(world)
    const wrong = [
      ...crashes.map((crash) => `crash: ${describe(crash)}`),
      ...(healedMs > healMaxMs ? [`not healed in ${healMaxMs} ms`] : []),
      ...(await differences(world)),
    ]
    return { seed, kind, version, wrong, events: shownAnywhere(servers).size, healedMs }
  } finally {
    for (const server of servers) await server[Symbol.asyncDispose]()
  }
}

interface World {
  readonly schedule: Schedule
  readonly network: Network
  readonly servers: readonly SimServer[]
  readonly story: Story
  readonly kind: Kind
  /** What happened before all were in the room: for those who came later it is history. */
  readonly before: ReadonlySet<EventId>
}

function shownAnywhere(servers: readonly SimServer[]): Set<EventId> {
  return new Set(servers.flatMap(idsShown))
}

/** Lets time pass until the work is done. */
export async function until<T>(schedule: Schedule, work: Promise<T>): Promise<T> {
  let isOver = false
  const over = work.finally(() => {
    isOver = true
  })
  over.catch(() => {})
  const end = schedule.now + setUpMaxMs
  await schedule.advance(0)
  while (!isOver && schedule.now < end) await schedule.advance(100)
  if (!isOver) throw new Error('the simulation could not begin')
  return await over
}

/** One round: some links are cut, all of them are bad, and people do things. */
async function storm(chance: Chance, { schedule, network, servers, story }: World): Promise<void> {
  Object.assign(network.weather, {
    delayMaxMs: 10 + chance.below(5_000),
    ...{ loseRequest: chance.next() * 0.2, loseReply: chance.next() * 0.2 },
    repeat: chance.next() * 0.2,
  })
  network.heal()
  const sides = new Map(servers.map(({ name }) => [name, chance.below(2)]))
  const isOneWay = chance.hits(0.2)
  for (const [from, one] of sides) {
    for (const [to, other] of sides) {
      if (one !== other && (!isOneWay || one < other)) network.cut(from, to)
    }
  }
  for (let deeds = 3 + chance.below(10); deeds > 0; deeds--) {
    // Some do things at once.
    for (let more = chance.hits(0.3) ? 4 : 1; more > 0; more--) story.act()
    await schedule.advance(chance.next() ** 2 * 5_000)
  }
  await schedule.advance(chance.next() ** 2 * 60_000)
}

function calm(network: Network): void {
  network.heal()
  Object.assign(network.weather, { delayMaxMs: 200, loseRequest: 0, loseReply: 0, repeat: 0 })
}

/** Virtual time until all servers agree; they are asked again after everybody has spoken once more. */
async function heal(world: World): Promise<number> {
  const { schedule, story } = world
  const begin = schedule.now
  const agree = async () => story.open.size === 0 && (await differences(world)).length === 0
  // Whoever was shut out by one side only learns of it from what is said afterwards.
  for (let greetings = 1; greetings <= greetingsMax; greetings++) {
    await schedule.advance(healStepMs)
    await story.greet()
    await schedule.advance(healStepMs)
    await story.scroll()
    do await schedule.advance(healStepMs)
    while (!(await agree()) && schedule.now - begin < (healMaxMs * greetings) / greetingsMax)
  }
  return (await agree()) ? schedule.now - begin : healMaxMs + 1
}

async function differences(world: World): Promise<string[]> {
  const { servers, story, kind } = world
  const [home] = servers
  if (home === undefined) return []
  const inRoom = await home.events.serversIn(story.room)
  const members = servers.filter(({ name }) => inRoom.has(name))
  const wrong = (await Promise.all(servers.map(unsettled))).flat()
  for (const server of members) wrong.push(...(await stateDifference(home, server, story.room)))
  if (kind === 'exile') return wrong
  for (const server of members) {
    for (const other of members) wrong.push(...(await missing(world, server, other)))
  }
  const kept = await home.events.get(story.said.map(({ id }) => id))
  for (const { id, body, server } of kind === 'calm' ? story.said : []) {
    if (kept.get(id)?.position === undefined) wrong.push(`${id} (${body}) of ${server} is lost`)
  }
  return wrong
}

async function unsettled(server: SimServer): Promise<string[]> {
  const ids = idsShown(server)
  const waiting = await server.destinations.waiting()
  return [
    ...(new Set(ids).size === ids.length ? [] : [`${server.name} shows something twice`]),
    ...waiting.map((other) => `${server.name} has not sent all to ${other}`),
  ]
}

async function stateDifference(
  home: SimServer,
  server: SimServer,
  room: RoomId,
): Promise<string[]> {
  const [wanted, state] = [await stateOf(home, room), await stateOf(server, room)]
  return [...new Set([...wanted.keys(), ...state.keys()])].flatMap((key) => {
    const [here, there] = [wanted.get(key), state.get(key)]
    if (here === there) return []
    return `${key.replace('\u0000', ' ')}: ${home.name} has ${here}, ${server.name} has ${there}`
  })
}

/** What another accepted has come here, as news or as history, and is not rejected; where nobody is shut out, it is shown. */
async function missing(
  { before, kind }: World,
  server: SimServer,
  other: SimServer,
): Promise<string[]> {
  const shown = new Set(idsShown(server))
  const lacking = other.shown.filter(
    ({ pdu: { eventId } }) => !shown.has(eventId) && !before.has(eventId),
  )
  if (lacking.length === 0) return []
  const stored = await server.events.get(lacking.map(({ pdu }) => pdu.eventId))
  return lacking.flatMap(({ pdu }) => {
    const event = stored.get(pdu.eventId)
    const what = `${pdu.type} ${pdu.eventId} of ${other.name}'s timeline`
    if (event?.stateBefore === undefined) return `${server.name} lacks ${what}`
    if (event.rejected !== undefined) return `${server.name} rejected ${what}: ${event.rejected}`
    const isHidden = kind === 'calm' && event.position === undefined
    return isHidden ? `${server.name} does not show ${what}` : []
  })
}

async function stateOf(server: SimServer, room: RoomId): Promise<Map<string, string>> {
  const state = await server.events.currentState(room)
  return new Map([...state].map(([key, { pdu }]) => [key, pdu.eventId]))
}

function describe(what: unknown): string {
  if (what instanceof Error) return what.stack ?? what.message
  return JSON.stringify(what, (_, value: unknown) =>
    value instanceof Error ? (value.stack ?? value.message) : value,
  )
}
