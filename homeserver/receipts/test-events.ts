import type { Pdu } from '../../spec/events/event.ts'
import { type EventId, isUserId, parseEventId, type RoomId, type UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { rulesOf } from '../../spec/room/version.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { LogWriter } from '../stream/log.ts'

/** Events that a test sends by hand: unsigned, in memory, with real positions of the log. */
export interface TestEvents extends Pick<Events, 'get' | 'timeline' | 'rulesOf' | 'currentEntry'> {
  send(
    room: RoomId,
    sender: UserId,
    content: JsonObject,
    more?: { type?: string; stateKey?: string },
  ): Promise<StoredEvent>
  /** Redacts an event by its sender. */
  redact(target: StoredEvent): Promise<void>
}

export function createTestEvents(log: Pick<LogWriter, 'write'>): TestEvents {
  const all = new Map<EventId, StoredEvent>()
  const state = new Map<string, StoredEvent>()

  function pduOf(
    room: RoomId,
    sender: UserId,
    content: JsonObject,
    type: string,
    stateKey?: string,
  ): Pdu {
    const eventId = parseEventId(`$event${all.size}`)
    const plain = { type, content, sender, room_id: room }
    const json = stateKey === undefined ? plain : { ...plain, state_key: stateKey }
    const head = {
      eventId,
      roomId: room,
      sender,
      type,
      content,
      depth: all.size + 1,
      originServerTs: 0,
      prevEvents: [],
      authEvents: [],
      json,
    }
    return stateKey === undefined ? head : { ...head, stateKey }
  }

  return {
    async send(room, sender, content, { type = 'm.room.message', stateKey } = {}) {
      const pdu = pduOf(room, sender, content, type, stateKey)
      const nr = all.size
      const unplaced = { nr, pdu, text: JSON.stringify(pdu.json), softFailed: false }
      // The writer hands the row over before the position is known here: it is set on the same object.
      const event: StoredEvent & { position?: number } = unplaced
      const head = {
        kind: 'event',
        room,
        ref: String(nr),
        payload: { event, changesState: false },
      } as const
      all.set(pdu.eventId, event)
      const verdict = await log.write({
        entries: [
          type === 'm.room.member' && isUserId(stateKey) ? { ...head, user: stateKey } : head,
        ],
      })
      if (verdict.kind === 'done') Object.assign(event, { position: verdict.positions[0] })
      if (stateKey !== undefined) state.set(`${room}|${type}|${stateKey}`, event)
      return event
    },
    async redact({ pdu: { roomId, sender, eventId } }) {
      const json = pduOf(roomId, sender, {}, 'm.room.redaction')
      const event = {
        nr: all.size,
        pdu: { ...json, redacts: eventId },
        text: '{}',
        softFailed: false,
      }
      const redacted = all.get(eventId)
      if (redacted === undefined) throw new Error('not an event of this test')
      all.set(eventId, { ...redacted, redactedBy: event.pdu.eventId })
      const payload = { event, changesState: false, redacts: eventId }
      const entry = { kind: 'event', room: roomId, ref: String(event.nr), payload } as const
      const verdict = await log.write({ entries: [entry] })
      const position = verdict.kind === 'done' ? verdict.positions[0] : undefined
      all.set(event.pdu.eventId, { ...event, ...(position !== undefined && { position }) })
    },
    async get(ids) {
      return new Map(
        ids.flatMap((id) => (all.has(id) ? [[id, all.get(id)] as const] : [])).filter(isFound),
      )
    },
    async timeline(room, { after, upTo, limit }) {
      const inRange = [...all.values()].filter(
        ({ pdu, position = 0 }) => pdu.roomId === room && position > after && position <= upTo,
      )
      return { events: inRange.slice(-limit), limited: inRange.length > limit }
    },
    rulesOf: async () => rulesOf('11'),
    currentEntry: async (room, type, key) => state.get(`${room}|${type}|${key}`),
  }
}

function isFound(
  pair: readonly [EventId, StoredEvent | undefined],
): pair is readonly [EventId, StoredEvent] {
  return pair[1] !== undefined
}
