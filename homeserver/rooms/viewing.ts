/** As what somebody looks at a room: as a member now, as one who left, or from outside. */
import { forbidden } from '../../spec/errors.ts'
import type { StateKey } from '../../spec/events/event.ts'
import type { RoomId, UserId } from '../../spec/ids.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { Memberships } from './rooms.ts'

/** What a viewer sees of a room's state. */
export type View =
  /** The room as it is. */
  | { readonly kind: 'now' }
  /** The room as this event of the user's leaving left it; nothing that came later. */
  | { readonly kind: 'left'; readonly at: StoredEvent }

interface Needs {
  readonly events: Events
  readonly memberships: Memberships
}

export interface Viewing {
  /** @throws MatrixError M_FORBIDDEN for those who have not been in the room, unless all the world may read it */
  requireView(user: UserId, room: RoomId): Promise<View>
  state(room: RoomId, view: View): Promise<ReadonlyMap<StateKey, StoredEvent>>
  entry(room: RoomId, view: View, type: string, stateKey: string): Promise<StoredEvent | undefined>
}

export function createViewing({ events, memberships }: Needs): Viewing {
  /** The event by which somebody who was in the room left it. */
  async function departure(user: UserId, room: RoomId): Promise<StoredEvent | undefined> {
    const row = (await memberships.ofUser(user)).get(room)
    if (row === undefined || row.forgotten) return undefined
    if (row.membership !== 'leave' && row.membership !== 'ban') return undefined
    const event = (await events.get([row.eventId])).get(row.eventId)
    if (event?.stateAfter === undefined) return undefined
    const before = event.replaces?.content['membership']
    // Who was invited or knocked, and did not come in, has seen nothing.
    return before === undefined || before === 'invite' || before === 'knock' ? undefined : event
  }

  return {
    async requireView(user, room) {
      if (await memberships.isJoined(user, room)) return { kind: 'now' }
      const visibility = await events.currentEntry(room, 'm.room.history_visibility', '')
      if (visibility?.pdu.content['history_visibility'] === 'world_readable') return { kind: 'now' }
      const at = await departure(user, room)
      if (at !== undefined) return { kind: 'left', at }
      throw forbidden(`User ${user} not in room ${room}, and room previews are disabled`)
    },
    state: (room, view) =>
      view.kind === 'now' ? events.currentState(room) : events.stateAt(view.at.stateAfter ?? 0),
    entry: (room, view, type, stateKey) =>
      view.kind === 'now'
        ? events.currentEntry(room, type, stateKey)
        : events.stateEntry(view.at.stateAfter ?? 0, type, stateKey),
  }
}
