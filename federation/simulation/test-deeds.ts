/** What people can do in a room of a simulation. */
import type { LocalDraft } from '../../homeserver/events/events.ts'
import type { Requester } from '../../homeserver/rooms/rooms.ts'
import type { RoomId, UserId } from '../../spec/ids.ts'
import { isObject, type JsonObject } from '../../spec/json.ts'
import type { Chance } from './test-chance.ts'
import type { SimServer } from './test-sim-server.ts'

export interface Person extends Requester {
  readonly server: SimServer
}

/** Resolves when the person's server has answered. */
export type Deed = (who: Person) => Promise<unknown>

interface Needs {
  readonly room: RoomId
  readonly chance: Chance
  readonly servers: readonly SimServer[]
  /** Says something of its own. */
  readonly say: Deed
  /** A number that was not used before. */
  readonly count: () => number
  /** Somebody to whom something may be done, and somebody whose power may change. */
  readonly target: () => Person
  readonly guest: () => Person
}

/** Levels that people get and things need; who keeps a server in the room has more. */
export const levels = [0, 25, 50, 60] as const
const thresholds = ['ban', 'kick', 'invite', 'redact', 'events_default', 'state_default'] as const
/** How much likelier than anything else it is that somebody talks. */
const talkWeight = 6

const setState = (room: RoomId, who: Person, type: string, content: JsonObject, stateKey = '') =>
  who.server.rooms.send(who, { room, type, stateKey, content })

/** What shuts nobody out. */
export function quietDeeds({ room, chance, say, count }: Needs): Deed[] {
  return [
    ...Array.from({ length: talkWeight }, () => say),
    (who) => setState(room, who, 'm.room.topic', { topic: `${count()}` }),
    (who) => setState(room, who, 'm.room.name', { name: `${count()}` }),
    (who) => setState(room, who, 'x', { n: count() }, who.user),
    async (who) => {
      const seen = who.server.shown.filter(
        ({ pdu }) => pdu.roomId === room && pdu.type === 'm.room.message',
      )
      const event = seen[chance.below(Math.max(1, seen.length))]
      if (event) await who.server.rooms.redact(who, room, event.pdu.eventId, undefined)
    },
  ]
}

/** What changes who may do what. */
export function loudDeeds(needs: Needs): Deed[] {
  const { room, chance, target, servers } = needs
  const via = servers.map(({ name }) => name)
  const join = (who: Person) => who.server.rooms.join(who, room, { via })
  const change: Deed = (who) => changeLevels(needs, who)
  return [
    ...[change, change, change],
    (who) => who.server.rooms.ban(who, room, target().user),
    (who) => who.server.rooms.kick(who, room, target().user),
    (who) => who.server.rooms.unban(who, room, target().user),
    (who) => who.server.rooms.invite(who, room, target().user, {}),
    (who) => {
      const rule = chance.hits(0.7) ? 'public' : 'invite'
      return setState(room, who, 'm.room.join_rules', { join_rule: rule })
    },
    () => {
      const who = target()
      return who.server.rooms.leave(who, room)
    },
    () => join(target()),
    () => join(target()),
  ]
}

async function changeLevels({ room, chance, guest }: Needs, who: Person): Promise<void> {
  const before = await who.server.events.currentEntry(room, 'm.room.power_levels', '')
  const content = before?.pdu.content ?? {}
  const level = chance.pick(levels)
  const users = isObject(content['users']) ? content['users'] : {}
  const changed = chance.hits(0.5)
    ? { users: { ...users, [guest().user]: level } }
    : { [chance.pick(thresholds)]: level }
  await setState(room, who, 'm.room.power_levels', { ...content, ...changed })
}

export function createContent(version: string, creator: UserId): JsonObject {
  const hasCreator = version !== '11' && version !== '12'
  return { room_version: version, ...(hasCreator && { creator }) }
}

/** A public room's first events after its creation. */
export function firstState(sender: UserId, users: JsonObject): LocalDraft[] {
  const state = (type: string, content: JsonObject, stateKey = ''): LocalDraft => ({
    ...{ type, stateKey, content, sender },
  })
  return [
    state('m.room.member', { membership: 'join' }, sender),
    state('m.room.power_levels', {
      ...{ users, users_default: 0, events_default: 0, state_default: 25 },
      ...{ ban: 50, kick: 50, redact: 50, invite: 0 },
      events: { 'm.room.power_levels': 100, 'm.room.join_rules': 60 },
    }),
    state('m.room.join_rules', { join_rule: 'public' }),
    state('m.room.history_visibility', { history_visibility: 'shared' }),
  ]
}
