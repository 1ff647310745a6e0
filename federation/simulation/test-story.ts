/** What people do in one room while the network between their servers is bad: decided by a seed. */
import type { LocalDraft } from '../../homeserver/events/events.ts'
import type { Requester } from '../../homeserver/rooms/rooms.ts'
import { MatrixError } from '../../spec/errors.ts'
import {
  type EventId,
  parseDeviceId,
  parseUserId,
  type RoomId,
  type ServerName,
} from '../../spec/ids.ts'
import { isObject, type JsonObject } from '../../spec/json.ts'
import { chanceOf } from './test-chance.ts'
import type { SimServer } from './test-sim-server.ts'

/**
 * calm: they talk, and change what does not shut anybody out. steady: also power levels, kicks, bans and join rules,
 * but one person of each server stays. exile: whole servers are thrown out and come back.
 */
export const kinds = ['calm', 'steady', 'exile'] as const
export type Kind = (typeof kinds)[number]

export interface Person extends Requester {
  readonly server: SimServer
}

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
  /** Requests that were answered with an error of Matrix. */
  readonly refused: Map<string, number>
  /** Somebody does something. */
  act(): void
  /** Whoever is in the room says something, by each server that still has somebody there. */
  greet(): Promise<void>
}

interface Needs {
  readonly seed: number
  readonly kind: Kind
  readonly version: string
  readonly servers: readonly SimServer[]
  readonly onCrash: (what: unknown) => void
}

const thresholds = ['ban', 'kick', 'invite', 'redact', 'events_default', 'state_default'] as const
const levels = [0, 25, 50, 60] as const

/** Makes the room and brings everybody in; the network must be good. */
export async function beginStory(
  needs: Needs,
  /** Lets time pass until it is done. */
  during: <T>(work: Promise<T>) => Promise<T>,
): Promise<Story> {
  const { seed, kind, version, servers, onCrash } = needs
  const chance = chanceOf(seed, 'story')
  const [home] = servers
  if (home === undefined) throw new Error('a story needs a server')
  const keepers = servers.map((server) => personOf(server, 'keeper'))
  const guests = servers.flatMap((server) => [personOf(server, 'g1'), personOf(server, 'g2')])
  const [creator, ...others] = keepers
  if (creator === undefined) throw new Error('a story needs a person')
  const everybody: [Person, ...Person[]] = [creator, ...others, ...guests]
  const said: Said[] = []
  const open = new Set<Promise<void>>()
  const refused = new Map<string, number>()
  let count = 0

  const { room } = await during(
    home.events.createRoom(
      { version, sender: creator.user, content: createContent(version, creator) },
      () => firstState(creator, usersAtFirst()),
    ),
  )
  for (const person of [...others, ...guests]) {
    await during(person.server.rooms.join(person, room, { via: [home.name] }))
  }

  function usersAtFirst(): JsonObject {
    const users: Record<string, number> = version === '12' ? {} : { [creator?.user ?? '']: 100 }
    // In exile only one other has the power to change everything.
    for (const [at, { user }] of others.entries()) {
      users[user] = kind === 'exile' && at > 0 ? 50 : 100
    }
    for (const { user } of guests) users[user] = chance.pick(levels)
    return users
  }

  const target = (): Person => chance.pick(kind === 'exile' ? awayOf(everybody) : asList(guests))
  const awayOf = ([first, ...rest]: [Person, ...Person[]]): [Person, ...Person[]] =>
    asList(rest.length > 0 ? rest : [first])
  const asList = (list: readonly Person[]): [Person, ...Person[]] => {
    const [first = creator, ...rest] = list
    return [first, ...rest]
  }

  async function say(who: Person): Promise<void> {
    const body = `${seed} ${count++}`
    const content = { msgtype: 'm.text', body }
    const id = await who.server.rooms.send(who, { room, type: 'm.room.message', content })
    said.push({ id, body, server: who.server.name })
  }

  const state = async (who: Person, type: string, content: JsonObject) => {
    await who.server.rooms.send(who, { room, type, stateKey: '', content })
  }

  async function changeLevels(who: Person): Promise<void> {
    const before = await who.server.events.currentEntry(room, 'm.room.power_levels', '')
    const content = before?.pdu.content ?? {}
    const level = chance.pick(levels)
    if (chance.hits(0.4)) {
      const users = isObject(content['users']) ? content['users'] : {}
      const { user } = chance.pick(asList(guests))
      await state(who, 'm.room.power_levels', { ...content, users: { ...users, [user]: level } })
    } else {
      await state(who, 'm.room.power_levels', { ...content, [chance.pick(thresholds)]: level })
    }
  }

  async function redact(who: Person): Promise<void> {
    const seen = who.server.shown.filter(
      ({ pdu }) => pdu.roomId === room && pdu.type === 'm.room.message',
    )
    const event = seen[chance.below(Math.max(1, seen.length))]
    if (event) await who.server.rooms.redact(who, room, event.pdu.eventId, undefined)
  }

  const leave = (who: Person) => who.server.rooms.leave(who, room)
  const join = (who: Person) =>
    who.server.rooms.join(who, room, { via: servers.map(({ name }) => name) })

  const quiet: Deed[] = [
    ...Array.from({ length: 6 }, (): Deed => say),
    (who) => state(who, 'm.room.topic', { topic: `${count++}` }),
    (who) => state(who, 'm.room.name', { name: `${count++}` }),
    (who) => who.server.rooms.send(who, { room, type: 'x', stateKey: who.user, content: {} }),
    redact,
  ]
  const loud: Deed[] = [
    changeLevels,
    changeLevels,
    (who) => who.server.rooms.ban(who, room, target().user),
    (who) => who.server.rooms.kick(who, room, target().user),
    (who) => who.server.rooms.unban(who, room, target().user),
    (who) => who.server.rooms.invite(who, room, target().user, {}),
    (who) => state(who, 'm.room.join_rules', { join_rule: chance.hits(0.7) ? 'public' : 'invite' }),
    () => leave(target()),
    () => join(target()),
    () => join(target()),
  ]
  function perform(work: () => Promise<unknown>): void {
    const done: Promise<void> = work()
      .then(
        () => {},
        (error: unknown) => {
          if (!(error instanceof MatrixError)) return onCrash(error)
          refused.set(error.errcode, (refused.get(error.errcode) ?? 0) + 1)
        },
      )
      .finally(() => open.delete(done))
    open.add(done)
  }

  return {
    ...{ room, said, open, refused },
    act() {
      const deeds = kind === 'calm' ? quiet : [...quiet, ...loud]
      const deed = deeds[chance.below(deeds.length)]
      const who = chance.pick(everybody)
      if (deed) perform(() => deed(who))
    },
    async greet() {
      for (const server of servers) {
        const people = everybody.filter((person) => person.server.name === server.name)
        const who = await firstJoined(server, room, people)
        if (who) perform(() => say(who))
      }
    },
  }
}

type Deed = (who: Person) => Promise<unknown>

function createContent(version: string, { user }: Person): JsonObject {
  const hasCreator = version !== '11' && version !== '12'
  return { room_version: version, ...(hasCreator && { creator: user }) }
}

function firstState({ user }: Person, users: JsonObject): LocalDraft[] {
  const state = (type: string, content: JsonObject, stateKey = ''): LocalDraft => ({
    ...{ type, stateKey, content, sender: user },
  })
  return [
    state('m.room.member', { membership: 'join' }, user),
    state('m.room.power_levels', {
      ...{ users, users_default: 0, events_default: 0, state_default: 25 },
      ...{ ban: 50, kick: 50, redact: 50, invite: 0 },
      events: { 'm.room.power_levels': 100, 'm.room.join_rules': 60 },
    }),
    state('m.room.join_rules', { join_rule: 'public' }),
    state('m.room.history_visibility', { history_visibility: 'shared' }),
  ]
}

function personOf(server: SimServer, localpart: string): Person {
  return {
    server,
    user: parseUserId(`@${localpart}:${server.name}`),
    device: parseDeviceId('DEVICE'),
    ...{ guest: false, admin: false },
  }
}

/** Somebody who is in the room and may speak, as their server sees it: the most powerful first. */
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
