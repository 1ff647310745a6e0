import { type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import { isObject, type JsonObject } from '../../spec/json.ts'
import type { Events } from '../events/events.ts'
import type { MembershipRow, Rooms } from '../rooms/rooms.ts'
import { eventList } from './event-text.ts'

/** {@link https://spec.matrix.org/v1.19/client-server-api/#stripped-state} */
const strippedTypes = [
  'm.room.create',
  'm.room.name',
  'm.room.avatar',
  'm.room.topic',
  'm.room.join_rules',
  'm.room.canonical_alias',
  'm.room.encryption',
]

export interface StrippedNeeds {
  readonly events: Pick<Events, 'get' | 'currentEntry'>
  readonly rooms: Pick<Rooms, 'clientEvent'>
  /** What another server told of a room with its invite, or in answer to a knock. */
  readonly strippedState: (row: MembershipRow) => Promise<readonly JsonObject[]>
}

/**
 * What somebody invited or knocking may see: of a room that is here its state, of others what came with the invite.
 * A member event that has no place in a room's history came from outside, also when the room was here once.
 */
export async function readStripped(needs: StrippedNeeds, row: MembershipRow): Promise<string> {
  return eventList(await readStrippedEvents(needs, row))
}

/** The same as single events. */
export async function readStrippedEvents(
  needs: StrippedNeeds,
  row: MembershipRow,
): Promise<readonly string[]> {
  const { events, rooms } = needs
  const { user } = row
  const strip = (event: Parameters<Rooms['clientEvent']>[0]) =>
    rooms.clientEvent(event, { user }, 'stripped')
  const own = (await events.get([row.eventId])).get(row.eventId)
  const told = own?.stateAfter === undefined ? await ofInvite() : undefined
  const texts = told !== undefined && told.size > 0 ? told : await ofRoom()
  if (own !== undefined) texts.set(stateKeyOf('m.room.member', user), strip(own))
  return [...texts.values()]

  async function ofRoom(): Promise<Map<StateKey, string>> {
    const found = new Map<StateKey, string>()
    const wanted = strippedTypes.map((type): [string, string] => [type, ''])
    if (row.sender !== user) wanted.push(['m.room.member', row.sender])
    for (const [type, stateKey] of wanted) {
      const event = await events.currentEntry(row.room, type, stateKey)
      if (event !== undefined) found.set(stateKeyOf(type, stateKey), strip(event))
    }
    return found
  }

  async function ofInvite(): Promise<Map<StateKey, string>> {
    const found = new Map<StateKey, string>()
    for (const event of await needs.strippedState(row)) {
      const text = prune(event)
      if (text !== undefined) found.set(text.key, text.text)
    }
    return found
  }
}

/** What came from another server is cut to the four members that stripped state has. */
function prune(event: JsonObject): { key: StateKey; text: string } | undefined {
  const { sender, type, state_key, content } = event
  if (typeof type !== 'string' || typeof state_key !== 'string' || !isObject(content)) {
    return undefined
  }
  const text = JSON.stringify({ type, state_key, sender: sender ?? '', content })
  return { key: stateKeyOf(type, state_key), text }
}
