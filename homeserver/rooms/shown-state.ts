/** What somebody outside is shown of a room. {@link https://spec.matrix.org/v1.19/client-server-api/#stripped-state} */
import { stateKeyOf } from '../../spec/events/event.ts'
import { isUserId, type RoomId, type UserId } from '../../spec/ids.ts'
import { type JsonObject, objectAt, stringAt } from '../../spec/json.ts'
import { parsePdu } from '../../spec/room/event-format.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'

/** State that helps to recognise a room. */
const shownTypes = [
  'm.room.create',
  'm.room.join_rules',
  'm.room.canonical_alias',
  'm.room.avatar',
  'm.room.encryption',
  'm.room.name',
  'm.room.topic',
] as const

/** Events of stripped state that are kept, and characters of one of them. */
const strippedMax = 100
const strippedLengthMax = 65_536

/** The events themselves, as they are sent to another server with an invite or in answer to a knock. */
export async function shownState(
  events: Pick<Events, 'currentState'>,
  room: RoomId,
  sender?: UserId,
): Promise<readonly StoredEvent[]> {
  const state = await events.currentState(room)
  const keys = shownTypes.map((type) => stateKeyOf(type, ''))
  if (sender !== undefined) keys.push(stateKeyOf('m.room.member', sender))
  return keys.flatMap((key) => state.get(key) ?? [])
}

/** Stripped events that another server sent, as far as they are such: stripped anew, whatever they carried. */
export function strippedFrom(given: readonly JsonObject[]): readonly JsonObject[] {
  const stripped: JsonObject[] = []
  for (const event of given.slice(0, strippedMax)) {
    const type = stringAt(event, 'type')
    const sender = stringAt(event, 'sender')
    const stateKey = stringAt(event, 'state_key')
    const content = objectAt(event, 'content')
    if (type === undefined || stateKey === undefined || content === undefined) continue
    if (!isUserId(sender)) continue
    const one = { content, sender, state_key: stateKey, type }
    if (JSON.stringify(one).length <= strippedLengthMax) stripped.push(one)
  }
  return stripped
}

/** v12+: is there, whole, a create event that did not make the room; a stripped one says nothing. */
export function hasForeignCreate(
  room: RoomId,
  given: readonly JsonObject[],
  rules: RoomVersionRules,
): boolean {
  return given.some((event) => {
    if (event['type'] !== 'm.room.create' || event['hashes'] === undefined) return false
    try {
      return parsePdu(event, rules).roomId !== room
    } catch {
      // What is no event of this version makes no room.
      return true
    }
  })
}
