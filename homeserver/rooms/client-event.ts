/**
 * The client form of events, as JSON text. What all viewers see alike is serialised once per event; `unsigned` is
 * put behind it for each. Also keeps at hand what that needs without waiting: redactions and the rules of rooms.
 */
import { LRUCache } from 'lru-cache'
import type { DeviceId, EventId, RoomId, UserId } from '../../spec/ids.ts'
import type { Json, JsonObject } from '../../spec/json.ts'
import { redactContent } from '../../spec/room/redact.ts'
import { type RoomVersionRules, rulesOf } from '../../spec/room/version.ts'
import type { Bundle, Events, Seen } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import { atMost } from '../platform/cache.ts'
import type { Clock } from '../platform/clock.ts'
import type { Tail } from '../stream/log.ts'
import { isEventPayload } from './memberships.ts'

export type EventFormat = 'client' | 'sync' | 'stripped'

export interface Viewer {
  readonly user: UserId
  readonly device?: DeviceId
}

export interface ClientEvents {
  /** JSON text of an event for a viewer; at once, from what is in memory. */
  text(event: StoredEvent | Seen, viewer: Viewer | undefined, format?: EventFormat): string
  /** Gets at hand what `text` needs for these: the redactions of those that are redacted. */
  preload(events: readonly (StoredEvent | Seen)[]): Promise<void>
}

const redactionsMax = 20_000
const roomsMax = 20_000
/** Replaced state whose content is not shown, because it was redacted. */
const hiddenMax = 20_000

interface Needs {
  readonly events: Pick<Events, 'get' | 'rulesOf'>
  readonly clock: Clock
  readonly tail: Pick<Tail, 'subscribe'>
}

export function createClientEvents({ events, clock, tail }: Needs): ClientEvents {
  const redactions = new LRUCache<EventId, StoredEvent>({ ...atMost(redactionsMax) })
  const rules = new LRUCache<RoomId, RoomVersionRules>({ ...atMost(roomsMax) })
  const hidden = new LRUCache<EventId, true>({ ...atMost(hiddenMax) })

  tail.subscribe('client events', (rows) => {
    for (const { kind, payload } of rows) {
      if (kind !== 'event' || !isEventPayload(payload) || payload.redacts === undefined) continue
      const { event, redacts } = payload
      redactions.set(event.pdu.eventId, event)
      hidden.set(redacts, true)
      // Never rejects in a way that matters: an unknown version is shown by the strictest rules.
      void learnRules(event.pdu.roomId).catch(() => {})
    }
  })

  async function learnRules(room: RoomId): Promise<void> {
    if (rules.has(room)) return
    const known = await events.rulesOf(room)
    if (known !== undefined) rules.set(room, known)
  }

  async function preload(list: readonly (StoredEvent | Seen)[]): Promise<void> {
    const wanted = new Set<EventId>()
    const replaced = new Set<EventId>()
    const rooms = new Set<RoomId>()
    for (const one of list) {
      const { redactedBy, replaces, pdu } = eventOf(one)
      if (redactedBy !== undefined) {
        rooms.add(pdu.roomId)
        if (!redactions.has(redactedBy)) wanted.add(redactedBy)
      }
      if (replaces !== undefined) replaced.add(replaces.eventId)
    }
    if (wanted.size + replaced.size > 0) {
      const found = await events.get([...wanted, ...replaced])
      for (const event of found.values()) {
        if (wanted.has(event.pdu.eventId)) redactions.set(event.pdu.eventId, event)
        if (event.redactedBy !== undefined) hidden.set(event.pdu.eventId, true)
      }
    }
    for (const room of rooms) await learnRules(room)
  }

  function text(one: StoredEvent | Seen, viewer: Viewer | undefined, format: EventFormat): string {
    const event = eventOf(one)
    if (format === 'stripped') return strippedText(event)
    const seen = 'event' in one ? one : undefined
    const head = headOf(event, rules.get(event.pdu.roomId))
    const room = format === 'sync' ? '' : `,"room_id":${JSON.stringify(event.pdu.roomId)}`
    return `{${head}${room},"unsigned":${unsignedText(event, viewer, seen, format)}}`
  }

  function unsignedText(
    event: StoredEvent,
    viewer: Viewer | undefined,
    { membership, bundle }: Partial<Seen> = {},
    format: EventFormat,
  ): string {
    const { pdu, txn, redactedBy, replaces } = event
    let unsigned = `{"age":${clock.now() - pdu.originServerTs}`
    if (membership !== undefined) unsigned += `,"membership":${JSON.stringify(membership)}`
    if (txn !== undefined && txn.device === viewer?.device && pdu.sender === viewer.user) {
      unsigned += `,"transaction_id":${JSON.stringify(txn.id)}`
    }
    if (replaces !== undefined) {
      const { eventId, sender, content } = replaces
      if (!hidden.has(eventId)) unsigned += `,"prev_content":${JSON.stringify(content)}`
      unsigned += `,"prev_sender":${JSON.stringify(sender)},"replaces_state":${JSON.stringify(eventId)}`
    }
    if (bundle !== undefined) unsigned += `,"m.relations":${bundleText(bundle, viewer, format)}`
    const redaction = redactedBy && redactions.get(redactedBy)
    if (redaction !== undefined) {
      unsigned += `,"redacted_because":${text(redaction, undefined, format)}`
    }
    return `${unsigned}}`
  }

  function bundleText(bundle: Bundle, viewer: Viewer | undefined, format: EventFormat): string {
    const { replace, references, thread } = bundle
    const parts: string[] = []
    if (replace !== undefined) parts.push(`"m.replace":${text(replace, viewer, format)}`)
    if (references !== undefined) {
      const chunk = references.map((event_id) => ({ event_id }))
      parts.push(`"m.reference":${JSON.stringify({ chunk })}`)
    }
    if (thread !== undefined) {
      const { latest, count, participated } = thread
      parts.push(
        `"m.thread":{"latest_event":${text(latest, viewer, format)},"count":${count},"current_user_participated":${participated}}`,
      )
    }
    return `{${parts.join(',')}}`
  }

  return { preload, text: (event, viewer, format = 'client') => text(event, viewer, format) }
}

/** What is shown of an event to somebody who is not in its room. {@link https://spec.matrix.org/v1.19/client-server-api/#stripped-state} */
export function strippedEvent({ pdu }: StoredEvent): JsonObject {
  return {
    content: pdu.content,
    sender: pdu.sender,
    state_key: pdu.stateKey ?? '',
    type: pdu.type,
  }
}

const strippedTexts = new WeakMap<StoredEvent, string>()

function strippedText(event: StoredEvent): string {
  const known = strippedTexts.get(event)
  if (known !== undefined) return known
  const text = JSON.stringify(strippedEvent(event))
  strippedTexts.set(event, text)
  return text
}

// A redacted event is another object than it was before, so its head is another one too.
const heads = new WeakMap<StoredEvent, string>()

/** The members that everybody sees alike, without the braces, the room and `unsigned`. */
function headOf(event: StoredEvent, rules: RoomVersionRules | undefined): string {
  const known = heads.get(event)
  if (known !== undefined) return known
  const { pdu, redactedBy } = event
  const shown: Record<string, Json> = {
    content: redactedBy === undefined ? contentOf(event) : redactedContent(event, rules),
    event_id: pdu.eventId,
    origin_server_ts: pdu.originServerTs,
    sender: pdu.sender,
    type: pdu.type,
  }
  if (pdu.stateKey !== undefined) shown['state_key'] = pdu.stateKey
  // v11+ keeps it in the content and earlier versions beside it; clients of either age find it.
  if (pdu.redacts !== undefined && redactedBy === undefined) shown['redacts'] = pdu.redacts
  const text = JSON.stringify(shown).slice(1, -1)
  if (redactedBy === undefined || rules !== undefined) heads.set(event, text)
  return text
}

function contentOf({ pdu }: StoredEvent): JsonObject {
  if (pdu.redacts === undefined || pdu.content['redacts'] !== undefined) return pdu.content
  return { ...pdu.content, redacts: pdu.redacts }
}

const strictest = rulesOf('11')

function redactedContent({ pdu }: StoredEvent, rules = strictest): JsonObject {
  return rules === undefined ? {} : redactContent(pdu.type, pdu.content, rules)
}

function eventOf(one: StoredEvent | Seen): StoredEvent {
  return 'event' in one ? one.event : one
}
