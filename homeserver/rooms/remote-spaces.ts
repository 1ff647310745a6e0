/** What other servers tell of rooms that are not here, checked and remembered for a while. */
import { LRUCache } from 'lru-cache'
import { MatrixError } from '../../spec/errors.ts'
import { isRoomId, type RoomId, type ServerName } from '../../spec/ids.ts'
import {
  arrayAt,
  booleanAt,
  integerAt,
  isObject,
  type Json,
  type JsonObject,
  objectAt,
  stringAt,
} from '../../spec/json.ts'
import type { Clock } from '../platform/clock.ts'
import type { Remote } from '../ports.ts'
import { filled } from './change-core.ts'
import { childrenFrom, type SpaceChild } from './space-children.ts'

/** A room that another server told of. */
export interface RemoteSpace {
  /** Fields of a summary and no others. */
  readonly summary: JsonObject
  readonly children: readonly SpaceChild[]
  /** Summaries of those of its children that the server knows. */
  readonly told: ReadonlyMap<RoomId, JsonObject>
  /** Children that nobody of this server may see. */
  readonly inaccessible: ReadonlySet<RoomId>
}

export interface RemoteSpaces {
  /** Asks these servers one after the other; undefined when none of them tells. */
  find(
    room: RoomId,
    servers: readonly ServerName[],
    suggestedOnly: boolean,
  ): Promise<RemoteSpace | undefined>
}

interface Needs {
  readonly serverName: ServerName
  readonly clock: Clock
  readonly remote: Pick<Remote, 'hierarchy'>
}

/** How long an answer holds, and how many characters of answers are kept. */
const answerMs = 5 * 60_000
const answersLengthMax = 16 * 1024 * 1024
/** Servers that are asked for one room, children of an answer that are read, characters of a field. */
const serversMax = 3
const childrenMax = 1_000
const textMax = 16_384

interface Kept {
  readonly space: Promise<RemoteSpace>
  readonly until: number
}

export function createRemoteSpaces({ serverName, clock, remote }: Needs): RemoteSpaces {
  const kept = new LRUCache<string, Kept>({
    maxSize: answersLengthMax,
    sizeCalculation: () => 1_024,
  })

  async function ask(
    server: ServerName,
    room: RoomId,
    suggestedOnly: boolean,
  ): Promise<RemoteSpace> {
    const name = `${server} ${room} ${suggestedOnly}`
    const known = kept.get(name)
    if (known !== undefined && known.until > clock.now()) return await known.space
    const space = remote.hierarchy(server, room, suggestedOnly).then((json) => read(room, json))
    const until = clock.now() + answerMs
    kept.set(name, { space, until })
    try {
      const found = await space
      kept.set(name, { space, until }, { size: weightOf(found) })
      return found
    } catch (error) {
      // What one server refuses now it may allow in a moment.
      kept.delete(name)
      throw error
    }
  }

  return {
    async find(room, servers, suggestedOnly) {
      const others = [...new Set(servers)].filter((server) => server !== serverName)
      for (const server of others.slice(0, serversMax)) {
        try {
          return await ask(server, room, suggestedOnly)
        } catch (error) {
          if (!(error instanceof MatrixError)) throw error
        }
      }
      return undefined
    },
  }
}

function weightOf({ summary, children, told }: RemoteSpace): number {
  return JSON.stringify([summary, children, [...told]]).length + 256
}

/** @throws MatrixError M_CONNECTION_FAILED when the answer is about another room, or none */
function read(room: RoomId, json: JsonObject): RemoteSpace {
  const entry = objectAt(json, 'room')
  if (entry === undefined || entry['room_id'] !== room) {
    throw new MatrixError('M_CONNECTION_FAILED', 'the answer is not about the room')
  }
  const told = new Map<RoomId, JsonObject>()
  for (const child of objectsAt(json, 'children')) {
    const id = child['room_id']
    if (isRoomId(id)) told.set(id, summaryFrom(id, child))
  }
  const inaccessible = (arrayAt(json, 'inaccessible_children') ?? []).slice(0, childrenMax)
  return {
    summary: summaryFrom(room, entry),
    children: childrenFrom(objectsAt(entry, 'children_state')),
    told,
    inaccessible: new Set(inaccessible.filter(isRoomId)),
  }
}

function objectsAt(json: JsonObject, key: string): readonly JsonObject[] {
  return (arrayAt(json, key) ?? []).slice(0, childrenMax).filter(isObject)
}

/** The known fields of a summary, as far as they are of their types. */
function summaryFrom(room: RoomId, json: JsonObject): JsonObject {
  const text = (key: string) => {
    const value = stringAt(json, key)
    return value === undefined || value.length > textMax ? undefined : value
  }
  const allowed = arrayAt(json, 'allowed_room_ids')?.slice(0, childrenMax).filter(isRoomId)
  const fields: Record<string, Json | undefined> = {
    room_id: room,
    num_joined_members: Math.max(0, integerAt(json, 'num_joined_members') ?? 0),
    world_readable: booleanAt(json, 'world_readable') ?? false,
    guest_can_join: booleanAt(json, 'guest_can_join') ?? false,
    allowed_room_ids: allowed,
  }
  for (const key of textFields) fields[key] = text(key)
  return filled(fields)
}

const textFields = [
  'avatar_url',
  'canonical_alias',
  'encryption',
  'join_rule',
  'name',
  'room_type',
  'room_version',
  'topic',
] as const
