/** What people do in one room while the network between their servers is bad: decided by a seed. */
import { MatrixError } from '../../spec/errors.ts'
import {
  type EventId,
  parseDeviceId,
  parseUserId,
  type RoomId,
  type ServerName,
} from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { type Chance, chanceOf } from './test-chance.ts'
import {
  createContent,
  firstState,
  levels,
  loudDeeds,
  type Person,
  quietDeeds,
} from './test-deeds.ts'
import type { SimServer } from './test-sim-server.ts'

/**
 * calm: they talk, and change what does not shut anybody out. steady: also power levels, kicks, bans and join rules,
 * but one person of each server stays. exile: whole servers are thrown out and come back.
 */
export const kinds = ['calm', 'steady', 'exile'] as const
export type Kind = (typeof kinds)[number]

/** A message that was answered with its id. */
export interface Said {
  readonly id: EventId
  readonly body: string
  readonly server: ServerName
}

export interface Story {
  readonly room: RoomId
  readonly said: readonly Said[]
  /** Requests that wait for their answer. */
  readonly open: ReadonlySet<Promise<void>>
  /** Somebody does something. */
  act(): void
  /** Whoever is in the room says something, by each server that still has somebody there. */
  greet(): Promise<void>
  /** They scroll back to the beginning: what a gap left out is fetched only then. */
  scroll(): Promise<void>
}

const pageLimit = 100

interface Needs {
  readonly seed: number
  readonly kind: Kind
  readonly version: string
  readonly servers: readonly SimServer[]
  readonly onCrash: (what: unknown) => void
}

/** The people of a story; who made the room is the first keeper. */
interface Cast {
  readonly creator: Person
  readonly keepers: readonly Person[]
  readonly guests: readonly [Person, ...Person[]]
}

/** Makes the room and brings everybody in; the network must be good. `during` lets time pass until it is done. */
export async function beginStory(
  needs: Needs,
  during: <T>(work: Promise<T>) => Promise<T>,
): Promise<Story> {
  const { seed, kind, version, servers } = needs
  const chance = chanceOf(seed, 'story')
  const cast = castOf(servers)
  const { creator, keepers, guests } = cast
  const everybody = [...keepers, ...guests]
  const { room } = await during(
    creator.server.events.createRoom(
      { version, sender: creator.user, content: createContent(version, creator.user) },
      () => firstState(creator.user, powersOf(needs, cast, chance)),
    ),
  )
  for (const person of everybody) {
    if (person === creator) continue
    await during(person.server.rooms.join(person, room, { via: [creator.server.name] }))
  }

  const said: Said[] = []
  const { open, perform } = createRequests(needs.onCrash)
  let counted = 0
  const count = () => counted++
  async function say(who: Person): Promise<void> {
    const body = `${seed} ${count()}`
    const content = { msgtype: 'm.text', body }
    const id = await who.server.rooms.send(who, { room, type: 'm.room.message', content })
    said.push({ id, body, server: who.server.name })
  }
  const others = everybody.filter((person) => person !== creator)
  const guest = () => chance.pick(guests)
  const target = () =>
    kind === 'exile' ? (others[chance.below(others.length)] ?? guest()) : guest()
  async function byEachServer(work: (who: Person) => void): Promise<void> {
    for (const server of servers) {
      const people = everybody.filter((person) => person.server === server)
      const who = await firstJoined(server, room, people)
      if (who) work(who)
    }
  }
  const ways = { room, chance, servers, say, count, target, guest }
  const deeds = kind === 'calm' ? quietDeeds(ways) : [...quietDeeds(ways), ...loudDeeds(ways)]
  return {
    ...{ room, said, open },
    act() {
      const deed = deeds[chance.below(deeds.length)]
      const who = everybody[chance.below(everybody.length)]
      if (deed && who) perform(() => deed(who))
    },
    greet: () => byEachServer((who) => perform(() => say(who))),
    scroll: () => byEachServer((who) => perform(() => readAll(who, room))),
  }
}

function castOf(servers: readonly SimServer[]): Cast {
  const keepers = servers.map((server) => personOf(server, 'keeper'))
  const [first, ...guests] = servers.flatMap((server) => [
    personOf(server, 'g1'),
    personOf(server, 'g2'),
  ])
  const [creator] = keepers
  if (creator === undefined || first === undefined) throw new Error('a story needs a server')
  return { creator, keepers, guests: [first, ...guests] }
}

function personOf(server: SimServer, localpart: string): Person {
  return {
    server,
    user: parseUserId(`@${localpart}:${server.name}`),
    device: parseDeviceId('DEVICE'),
    ...{ guest: false, admin: false },
  }
}

function powersOf({ kind, version }: Needs, cast: Cast, chance: Chance): JsonObject {
  const { creator, keepers, guests } = cast
  const users: Record<string, number> = {}
  for (const [at, { user }] of keepers.entries()) {
    // In exile only one other has the power to change everything.
    users[user] = kind === 'exile' && at > 1 ? 50 : 100
  }
  for (const { user } of guests) users[user] = chance.pick(levels)
  // v12: who made the room is above all levels and in none of them.
  if (version === '12') delete users[creator.user]
  return users
}

/** Requests of clients; an error of Matrix is an answer like any other. */
function createRequests(onCrash: Needs['onCrash']) {
  const open = new Set<Promise<void>>()
  function perform(work: () => Promise<unknown>): void {
    const done: Promise<void> = work()
      .then(
        () => {},
        (error: unknown) => {
          if (!(error instanceof MatrixError)) onCrash(error)
        },
      )
      .finally(() => open.delete(done))
    open.add(done)
  }
  return { open, perform }
}

async function readAll(who: Person, room: RoomId): Promise<void> {
  let from: string | undefined
  do {
    const query = { dir: 'b', limit: pageLimit, ...(from !== undefined && { from }) } as const
    const { end } = await who.server.rooms.messages(who, room, query)
    from = end
  } while (from !== undefined)
}

/** The first of these who is in the room as their server sees it. */
async function firstJoined(
  { events }: SimServer,
  room: RoomId,
  people: readonly Person[],
): Promise<Person | undefined> {
  for (const person of people) {
    const member = await events.currentEntry(room, 'm.room.member', person.user)
    if (member?.pdu.content['membership'] === 'join') return person
  }
  return undefined
}
