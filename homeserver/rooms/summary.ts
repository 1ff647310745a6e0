/** What a room tells of itself to those outside: the directory, spaces and previews. {@link https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias} */
import { LRUCache } from 'lru-cache'
import type { RoomId } from '../../spec/ids.ts'
import { isObject, type Json, type JsonObject, objectAt, stringAt } from '../../spec/json.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Database } from '../database/database.ts'
import type { Events } from '../events/events.ts'
import { atMost } from '../platform/cache.ts'
import type { Tail } from '../stream/log.ts'
import { filled } from './change-core.ts'
import { isEventPayload } from './memberships.ts'
import { joinedCounts } from './queries.ts'
import { allowedRooms, isRestricted } from './restricted-join.ts'

/** A room as its state describes it; how many are in it is asked for when it is shown. */
export interface Summary {
  readonly room: RoomId
  /** The fields that a list of public rooms has. */
  readonly shown: JsonObject
  /** The fields that a summary has beside them. */
  readonly more: JsonObject
  readonly joinRule: string
  readonly worldReadable: boolean
  /** Whether anybody may come in, or knock. */
  readonly isOpen: boolean
  /** Rooms whose members may come in. */
  readonly allowed: readonly RoomId[]
  readonly isSpace: boolean
  /** False for a room that other servers are kept out of. */
  readonly federates: boolean
}

export interface Summaries {
  /** Undefined for a room that is not known here. */
  of(room: RoomId): Promise<Summary | undefined>
  /** Summaries as they go over the wire, by room. */
  shown(summaries: readonly Summary[]): Promise<ReadonlyMap<RoomId, JsonObject>>
}

type EventsForSummary = Pick<Events, 'currentEntry' | 'rulesOf'>

interface Needs {
  readonly db: Database
  readonly tail: Pick<Tail, 'subscribe'>
  readonly events: EventsForSummary
}

/** Rooms whose summaries are remembered. */
const roomsMax = 5_000

/** Builds the summaries; before the tail starts. */
export function createSummaries({ db, tail, events }: Needs): Summaries {
  const kept = new LRUCache<RoomId, Promise<Summary | undefined>>({ ...atMost(roomsMax) })

  tail.subscribe('room summaries', (rows) => {
    for (const { kind, room, payload } of rows) {
      if (room === undefined) continue
      if (kind === 'state') kept.delete(room)
      if (kind !== 'event' || !isEventPayload(payload) || !payload.changesState) continue
      if (payload.event.pdu.type !== 'm.room.member') kept.delete(room)
    }
  })

  return {
    of(room) {
      const known = kept.get(room)
      if (known !== undefined) return known
      const summary = readSummary(events, room)
      kept.set(room, summary)
      summary.catch(() => kept.delete(room))
      return summary
    },
    async shown(summaries) {
      const counts = await joinedCounts(
        db,
        summaries.map(({ room }) => room),
      )
      return new Map(
        summaries.map(({ room, shown, more }) => [
          room,
          { ...shown, ...more, num_joined_members: counts.get(room) ?? 0 },
        ]),
      )
    },
  }
}

async function readSummary(events: EventsForSummary, room: RoomId): Promise<Summary | undefined> {
  const rules = await events.rulesOf(room)
  const create = (await events.currentEntry(room, 'm.room.create', ''))?.pdu.content
  if (rules === undefined || create === undefined) return undefined
  const content = async (type: string): Promise<JsonObject> =>
    (await events.currentEntry(room, type, ''))?.pdu.content ?? {}
  const text = async (type: string, key: string) => stringAt(await content(type), key)

  const joinRules = await content('m.room.join_rules')
  const joinRule = stringAt(joinRules, 'join_rule') ?? 'invite'
  const visibility = await text('m.room.history_visibility', 'history_visibility')
  const worldReadable = visibility === 'world_readable'
  const topic = await content('m.room.topic')
  const type = stringAt(create, 'type')
  const allowed = isRestricted(joinRules, rules) ? allowedRooms(joinRules) : []
  const shown: Record<string, Json | undefined> = {
    avatar_url: await text('m.room.avatar', 'url'),
    canonical_alias: await text('m.room.canonical_alias', 'alias'),
    guest_can_join: (await text('m.room.guest_access', 'guest_access')) === 'can_join',
    join_rule: joinRule,
    name: await text('m.room.name', 'name'),
    room_id: room,
    room_type: type,
    topic: stringAt(topic, 'topic') ?? plainTopic(topic),
    world_readable: worldReadable,
  }
  const more: Record<string, Json | undefined> = {
    allowed_room_ids: allowed.length > 0 ? allowed : undefined,
    encryption: await text('m.room.encryption', 'algorithm'),
    room_version: rules.version,
  }
  return {
    ...{ room, joinRule, worldReadable, allowed },
    shown: filled(shown),
    more: filled(more),
    isOpen: isOpen(joinRule, rules),
    isSpace: type === 'm.space',
    federates: create['m.federate'] !== false,
  }
}

/** Whether anybody may join or knock, as far as the room's version knows the rule. */
function isOpen(joinRule: string, rules: RoomVersionRules): boolean {
  switch (joinRule) {
    case 'public':
      return true
    case 'knock':
      return rules.knocking
    case 'knock_restricted':
      return rules.knockRestricted
    default:
      return false
  }
}

function plainTopic(topic: JsonObject): string | undefined {
  const [first] = [objectAt(topic, 'm.topic')?.['m.text']].flat()
  return isObject(first) ? stringAt(first, 'body') : undefined
}
