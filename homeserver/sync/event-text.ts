import { isObject } from '../../spec/json.ts'
import { redactEvent } from '../../spec/room/redact.ts'
import { type Filter, selectFields } from '../../spec/sync/filter.ts'
import type { Events, Seen } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { Related } from '../rooms/related.ts'
import type { Rooms } from '../rooms/rooms.ts'
import type { Asked } from './request.ts'

/** Writes events as this request wants them. */
export type EventWriter = (
  events: readonly (StoredEvent | Seen)[],
) => Promise<readonly string[]> | readonly string[]

export interface EventWriterNeeds {
  readonly rooms: Pick<Rooms, 'clientEvent'> & {
    /** Gets at hand what `clientEvent` needs for these. */
    readonly preload?: (events: readonly (StoredEvent | Seen)[]) => Promise<void>
    /** Puts with events what relates to them; nothing is put with them when absent. */
    readonly withRelations?: Related['withRelations']
  }
  readonly events: Pick<Events, 'rulesOf'>
}

/** The usual form is put together from texts; `event_fields` and the federation format are parsed and written anew. */
export function eventWriter({ rooms, events }: EventWriterNeeds, asked: Asked): EventWriter {
  const { user, device, filter } = asked
  const viewer = device === undefined ? { user } : { user, device }
  const write: EventWriter = async (list) => {
    if (list.some(needsPreload)) await rooms.preload?.(list)
    return list.map((event) => rooms.clientEvent(event, viewer, 'sync'))
  }
  const writeRaw: EventWriter = (list) =>
    Promise.all(list.map((event) => federationText(events, event)))
  return selecting(filter, filter.event_format === 'federation' ? writeRaw : write)
}

function selecting({ event_fields: fields }: Filter, write: EventWriter): EventWriter {
  if (fields === undefined) return write
  return async (list) =>
    (await write(list)).map((text) => {
      const json: unknown = JSON.parse(text)
      return isObject(json) ? JSON.stringify(selectFields(json, fields)) : '{}'
    })
}

function needsPreload(one: StoredEvent | Seen): boolean {
  const { redactedBy, replaces } = 'event' in one ? one.event : one
  return redactedBy !== undefined || replaces !== undefined
}

/** The event as servers have it. */
async function federationText(
  events: Pick<Events, 'rulesOf'>,
  given: StoredEvent | Seen,
): Promise<string> {
  const event = 'event' in given ? given.event : given
  if (event.redactedBy === undefined) return event.text
  const rules = await events.rulesOf(event.pdu.roomId)
  return rules === undefined ? '{}' : JSON.stringify(redactEvent(event.pdu.json, rules))
}

/** An event without a sender: account data, typing, receipts. `content` is JSON text. */
export function plainEvent(type: string, content: string): string {
  return `{"type":${JSON.stringify(type)},"content":${content}}`
}

/** `{"events":[…]}` */
export function eventList(texts: readonly string[]): string {
  return `{"events":[${texts.join(',')}]}`
}

/** A JSON object of members that are there; each is `"name":value`. */
export function objectOf(members: readonly (string | undefined)[]): string {
  return `{${members.filter((member) => member !== undefined && member !== '').join(',')}}`
}

/** A member `"name":{…}` of entries by name, or nothing when there are none. */
export function memberOf(name: string, entries: ReadonlyMap<string, string>): string | undefined {
  if (entries.size === 0) return undefined
  const texts = [...entries].map(([key, value]) => `${JSON.stringify(key)}:${value}`)
  return `"${name}":{${texts.join(',')}}`
}
