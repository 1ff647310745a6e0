import { isObject, type JsonObject, stringAt } from '../../../spec/json.ts'
import type { Events } from '../../events/events.ts'
import type { StoredEvent } from '../../events/stored-event.ts'
import type { MembershipRow } from '../../rooms/rooms.ts'
import type { StrippedNeeds } from '../stripped-state.ts'

/** What a list may be filtered by, of the room's state as far as the user may see it. */
export interface RoomFacts {
  /** Null for a room without a type. */
  readonly type: string | null
  readonly isEncrypted: boolean
  readonly name: string
}

export interface FactsNeeds {
  readonly events: Pick<Events, 'get' | 'currentEntry' | 'stateEntry'>
  readonly strippedState: StrippedNeeds['strippedState']
}

type Read = (type: string) => Promise<JsonObject | undefined>

export async function factsOf(needs: FactsNeeds, row: MembershipRow): Promise<RoomFacts> {
  const read = await readerFor(needs, row)
  const [create, encryption, name] = await Promise.all([
    read('m.room.create'),
    read('m.room.encryption'),
    read('m.room.name'),
  ])
  return {
    type: (create && stringAt(create, 'type')) ?? null,
    // A room stays encrypted, whatever becomes of the event that says so.
    isEncrypted: encryption !== undefined,
    name: (name && stringAt(name, 'name')) ?? '',
  }
}

/** Members see the state as it is, those who left as it was then, and those invited what they were told. */
async function readerFor(needs: FactsNeeds, row: MembershipRow): Promise<Read> {
  const { events, strippedState } = needs
  const { room, membership, eventId } = row
  const current: Read = async (type) => contentOf(await events.currentEntry(room, type, ''))
  if (membership === 'join') return current
  const own = (await events.get([eventId])).get(eventId)
  const root = own?.stateAfter
  const isOutside = membership === 'invite' || membership === 'knock'
  if (root !== undefined) {
    if (isOutside) return current
    return async (type) => contentOf(await events.stateEntry(root, type, ''))
  }
  const told = isOutside ? await strippedState(row) : []
  return async (type) => {
    const found = told.find((event) => event['type'] === type && event['state_key'] === '')
    const content = found?.['content']
    return isObject(content) ? content : undefined
  }
}

/** Of a redacted event what lists are filtered by is gone, but for the type of the room. */
function contentOf(event: StoredEvent | undefined): JsonObject | undefined {
  if (event === undefined) return undefined
  const { type, content } = event.pdu
  return event.redactedBy === undefined || type === 'm.room.create' ? content : {}
}
