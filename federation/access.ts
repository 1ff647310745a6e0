/** What other servers may ask about a room. "Not yours" and "not there" answer alike. */
import type { Events } from '../homeserver/events/events.ts'
import type { StoredEvent } from '../homeserver/events/stored-event.ts'
import { forbidden, notFound } from '../spec/errors.ts'
import type { EventId, RoomId, ServerName } from '../spec/ids.ts'
import { redactPdu } from '../spec/room/event-format.ts'
import { isServerAllowed } from '../spec/room/server-acl.ts'

export interface Access {
  /** Is the server allowed by the room's server ACL; true also for rooms that are not known here. */
  isAllowed(server: ServerName, room: RoomId): Promise<boolean>
  /** @throws MatrixError M_FORBIDDEN when the room's ACL shuts the server out */
  requireAllowed(server: ServerName, room: RoomId): Promise<void>
  /** @throws MatrixError M_FORBIDDEN when the server is shut out or not in the room, or the room is not known */
  requireInRoom(server: ServerName, room: RoomId): Promise<void>
  /**
   * An event of the room.
   * @throws MatrixError M_NOT_FOUND when it is unknown, rejected, or of another room
   */
  requireEvent(room: RoomId, id: EventId): Promise<StoredEvent>
  /** Texts of events as the server may have them: what history visibility hides from it is redacted. */
  textsFor(server: ServerName, events: readonly StoredEvent[]): Promise<readonly string[]>
}

/** What access is decided from. */
export type EventsForAccess = Pick<
  Events,
  'get' | 'rulesOf' | 'currentEntry' | 'serversIn' | 'serverMaySee'
>

export function createAccess({ events }: { readonly events: EventsForAccess }): Access {
  async function isAllowed(server: ServerName, room: RoomId): Promise<boolean> {
    const acl = await events.currentEntry(room, 'm.room.server_acl', '')
    return isServerAllowed(acl?.pdu, server)
  }

  async function requireAllowed(server: ServerName, room: RoomId): Promise<void> {
    if (!(await isAllowed(server, room))) throw forbidden('Server is banned from room')
  }

  async function textFor(server: ServerName, event: StoredEvent): Promise<string> {
    if (await events.serverMaySee(server, event)) return event.text
    const rules = await events.rulesOf(event.pdu.roomId)
    if (rules === undefined) throw notFound('Event')
    const redacted = redactPdu(event.pdu, rules)
    return redacted.text ?? JSON.stringify(redacted.json)
  }

  return {
    isAllowed,
    requireAllowed,
    async requireInRoom(server, room) {
      await requireAllowed(server, room)
      if (!(await events.serversIn(room)).has(server)) throw forbidden('Host not in room.')
    },
    async requireEvent(room, id) {
      const event = (await events.get([id])).get(id)
      if (!event || event.pdu.roomId !== room || event.rejected !== undefined) {
        throw notFound('Event')
      }
      return event
    },
    textsFor: (server, list) => Promise.all(list.map((event) => textFor(server, event))),
  }
}
