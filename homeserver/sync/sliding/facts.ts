import type { RoomId } from '../../../spec/ids.ts'
import { isObject, type JsonObject, stringAt } from '../../../spec/json.ts'
import type { Events } from '../../events/events.ts'
import { isPurge } from '../../events/purged.ts'
import { isEventPayload } from '../../events/room-views.ts'
import type { StoredEvent } from '../../events/stored-event.ts'
import { createCache } from '../../platform/cache.ts'
import type { MembershipRow } from '../../rooms/rooms.ts'
import type { LogRow, Tail } from '../../stream/log.ts'
import type { StrippedNeeds } from '../stripped-state.ts'

/** What a list may be filtered by, of the room's state as far as the user may see it. */
export interface RoomFacts {
  /** Null for a room without a type. */
  readonly type: string | null
  readonly isEncrypted: boolean
  readonly name: string
}

/** Facts of each room of these memberships; those of rooms one is in are at hand for everybody in them. */
export type ReadFacts = (rows: readonly MembershipRow[]) => Promise<ReadonlyMap<RoomId, RoomFacts>>

export interface FactsNeeds {
  readonly events: Pick<Events, 'get' | 'stateEntry' | 'currentOfRooms'>
  readonly strippedState: StrippedNeeds['strippedState']
}

const roomsMax = 100_000
const factTypes: ReadonlySet<string> = new Set([
  'm.room.create',
  'm.room.encryption',
  'm.room.name',
])
const unknown: RoomFacts = { type: null, isEncrypted: false, name: '' }

/** Built after the events, which see rows first; before the tail starts. */
export function createFacts(
  needs: FactsNeeds & { readonly tail: Pick<Tail, 'subscribe'> },
): ReadFacts {
  const { events, tail } = needs
  const cache = createCache<RoomId, RoomFacts>({
    bound: { entriesMax: roomsMax },
    load: async (rooms) => {
      const found = await events.currentOfRooms(rooms, [...factTypes])
      return new Map(rooms.map((room) => [room, factsIn(found.get(room) ?? [])]))
    },
  })
  tail.subscribe('facts of rooms', (rows) => {
    for (const row of rows) {
      if (row.room !== undefined && mayChange(row)) cache.invalidate(row.room)
    }
  })

  return async (rows) => {
    const found = new Map<RoomId, RoomFacts>()
    const missing: RoomId[] = []
    for (const row of rows) {
      if (row.membership !== 'join') {
        const facts = await factsOutside(needs, row)
        if (facts !== undefined) found.set(row.room, facts)
        else missing.push(row.room)
        continue
      }
      const known = cache.peek(row.room)
      if (known === undefined) missing.push(row.room)
      else found.set(row.room, known)
    }
    if (missing.length === 0) return found
    for (const [room, facts] of await cache.getMany(missing)) found.set(room, facts)
    return found
  }
}

/** State that is resolved anew may be any; a redaction may take a name away. */
function mayChange(row: LogRow): boolean {
  const { kind, payload } = row
  if (kind !== 'event') return kind === 'state' || isPurge(row)
  if (!isEventPayload(payload)) return true
  const { event, changesState, redacts } = payload
  return redacts !== undefined || (changesState && factTypes.has(event.pdu.type))
}

/**
 * Who left sees the room as it was then, and who is invited what they were told, or nothing of their own: then it is what
 * the room is now.
 */
async function factsOutside(
  { events, strippedState }: FactsNeeds,
  row: MembershipRow,
): Promise<RoomFacts | undefined> {
  const root = (await events.get([row.eventId])).get(row.eventId)?.stateAfter
  const isInvited = row.membership === 'invite' || row.membership === 'knock'
  if (root === undefined) return isInvited ? factsTold(await strippedState(row)) : unknown
  if (isInvited) return undefined
  const entries = [...factTypes].map((type) => events.stateEntry(root, type, ''))
  return factsIn((await Promise.all(entries)).filter((event) => event !== undefined))
}

function factsIn(events: readonly StoredEvent[]): RoomFacts {
  const contents = new Map(events.map((event) => [event.pdu.type, contentOf(event)]))
  return factsFrom(contents)
}

function factsTold(events: readonly JsonObject[]): RoomFacts {
  const contents = new Map<string, JsonObject>()
  for (const { type, state_key: key, content } of events) {
    if (typeof type === 'string' && key === '' && isObject(content)) contents.set(type, content)
  }
  return factsFrom(contents)
}

function factsFrom(contents: ReadonlyMap<string, JsonObject>): RoomFacts {
  const textOf = (type: string, field: string) => stringAt(contents.get(type) ?? {}, field)
  return {
    type: textOf('m.room.create', 'type') ?? null,
    // A room stays encrypted, whatever becomes of the event that says so.
    isEncrypted: contents.has('m.room.encryption'),
    name: textOf('m.room.name', 'name') ?? '',
  }
}

/** Of a redacted event what lists are filtered by is gone, but for the type of the room. */
function contentOf({ pdu, redactedBy }: StoredEvent): JsonObject {
  return redactedBy === undefined || pdu.type === 'm.room.create' ? pdu.content : {}
}
