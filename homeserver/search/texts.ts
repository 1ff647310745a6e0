/** What of an event is searched. {@link https://spec.matrix.org/v1.19/client-server-api/#search-categories} */
import type { Pdu } from '../../spec/events/event.ts'
import { isObject, type JsonObject, objectAt, stringAt } from '../../spec/json.ts'
import type { StoredEvent } from '../events/stored-event.ts'

/** Keys of the API with the type of event that each is of, and its name in the index. */
export const searchedKeys = {
  'content.body': { type: 'm.room.message', name: 'body' },
  'content.name': { type: 'm.room.name', name: 'name' },
  'content.topic': { type: 'm.room.topic', name: 'topic' },
} as const
export type SearchedKey = keyof typeof searchedKeys

const byType = new Map<string, string>(
  Object.values(searchedKeys).map(({ type, name }) => [type, name]),
)

/** May the event have a text. */
export function isSearched({ type }: Pick<Pdu, 'type'>): boolean {
  return byType.has(type)
}

/** The row of an event's text; undefined when it has none that is to be found. */
export function textRow({ nr, pdu, position, rejected, redactedBy }: StoredEvent) {
  const key = byType.get(pdu.type)
  if (key === undefined || position === undefined) return undefined
  if (rejected !== undefined || redactedBy !== undefined) return undefined
  // Postgres holds no NUL in a text.
  const body = textOf(key, pdu.content).replaceAll('\0', ' ')
  if (body.trim() === '') return undefined
  const { eventId: event_id, roomId: room_id, sender, originServerTs: ts } = pdu
  return { nr, event_id, room_id, sender, key, ts, body }
}

function textOf(key: string, content: JsonObject): string {
  const plain = stringAt(content, key) ?? ''
  if (key !== 'topic') return plain
  const forms = [objectAt(content, 'm.topic')?.['m.text']].flat().filter(isObject)
  const form = forms.find((one) => (stringAt(one, 'mimetype') ?? 'text/plain') === 'text/plain')
  const body = (form && stringAt(form, 'body')) ?? ''
  return body === plain ? plain : `${plain} ${body}`
}
