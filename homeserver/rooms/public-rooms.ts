/** The list of public rooms, as clients and other servers page through it. {@link https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms} */
import { LRUCache } from 'lru-cache'
import { invalidParam } from '../../spec/errors.ts'
import type { RoomId } from '../../spec/ids.ts'
import { isObject, type Json, type JsonObject, objectAt, stringAt } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import type { Events } from '../events/events.ts'
import type { Tail } from '../stream/log.ts'
import { isEventPayload } from './memberships.ts'
import { publishedRooms } from './queries.ts'
import type { Rooms } from './rooms.ts'

/** Rooms of the whole list, rooms of a page, and rooms whose entries are remembered. */
const listMax = 5_000
const pageMax = 500
const entriesMax = 5_000

interface Needs {
  readonly db: Database
  readonly tail: Pick<Tail, 'subscribe'>
  readonly events: Pick<Events, 'currentEntry'>
}

/** What the list says of a room, its size aside. */
interface Entry {
  readonly shown: JsonObject
  /** Whether people from outside can come in or look in. */
  readonly isOpen: boolean
}

export function createPublicRooms({ db, tail, events }: Needs): Pick<Rooms, 'publicRooms'> {
  const entries = new LRUCache<RoomId, Promise<Entry>>({ max: entriesMax })

  tail.subscribe('public rooms', (rows) => {
    for (const { kind, room, payload } of rows) {
      if (room === undefined) continue
      if (kind === 'state') entries.delete(room)
      if (kind !== 'event' || !isEventPayload(payload) || !payload.changesState) continue
      if (payload.event.pdu.type !== 'm.room.member') entries.delete(room)
    }
  })

  function entryOf(room: RoomId): Promise<Entry> {
    const known = entries.get(room)
    if (known !== undefined) return known
    const entry = readEntry(events, room)
    entries.set(room, entry)
    entry.catch(() => entries.delete(room))
    return entry
  }

  return {
    async publicRooms({ limit, since, term }) {
      const found: JsonObject[] = []
      for (const { room_id: room, joined } of await publishedRooms(db, listMax)) {
        const { shown, isOpen } = await entryOf(room)
        if (isOpen && matches(shown, term)) found.push({ ...shown, num_joined_members: joined })
      }
      const size = Math.max(1, Math.min(limit, pageMax))
      const start = since === undefined ? 0 : readToken(since)
      const page: Record<string, Json> = {
        chunk: found.slice(start, start + size),
        total_room_count_estimate: found.length,
      }
      if (start > 0) page['prev_batch'] = `p${Math.max(0, start - size)}`
      if (start + size < found.length) page['next_batch'] = `p${start + size}`
      return page
    },
  }
}

async function readEntry(events: Pick<Events, 'currentEntry'>, room: RoomId): Promise<Entry> {
  const content = async (type: string): Promise<JsonObject> =>
    (await events.currentEntry(room, type, ''))?.pdu.content ?? {}
  const text = async (type: string, key: string) => stringAt(await content(type), key)

  const joinRule = (await text('m.room.join_rules', 'join_rule')) ?? 'invite'
  const visibility = await text('m.room.history_visibility', 'history_visibility')
  const isReadable = visibility === 'world_readable'
  const topic = await content('m.room.topic')
  const shown: Record<string, Json | undefined> = {
    avatar_url: await text('m.room.avatar', 'url'),
    canonical_alias: await text('m.room.canonical_alias', 'alias'),
    guest_can_join: (await text('m.room.guest_access', 'guest_access')) === 'can_join',
    join_rule: joinRule,
    name: await text('m.room.name', 'name'),
    room_id: room,
    room_type: await text('m.room.create', 'type'),
    topic: stringAt(topic, 'topic') ?? plainTopic(topic),
    world_readable: isReadable,
  }
  return { shown: filled(shown), isOpen: isReadable || openRules.has(joinRule) }
}

const openRules: ReadonlySet<string> = new Set([
  'public',
  'knock',
  'knock_restricted',
  'restricted',
])

function plainTopic(topic: JsonObject): string | undefined {
  const [first] = [objectAt(topic, 'm.topic')?.['m.text']].flat()
  return isObject(first) ? stringAt(first, 'body') : undefined
}

function matches(shown: JsonObject, term: string | undefined): boolean {
  if (term === undefined || term === '') return true
  const wanted = term.toLowerCase()
  return ['name', 'topic', 'canonical_alias'].some((key) =>
    stringAt(shown, key)?.toLowerCase().includes(wanted),
  )
}

function readToken(since: string): number {
  const [, digits] = /^p([0-9]{1,9})$/.exec(since) ?? []
  if (digits === undefined) throw invalidParam('since', 'not a token of this list')
  return Number(digits)
}

function filled(fields: Readonly<Record<string, Json | undefined>>): JsonObject {
  const kept: Record<string, Json> = {}
  for (const [key, value] of Object.entries(fields)) if (value !== undefined) kept[key] = value
  return kept
}
