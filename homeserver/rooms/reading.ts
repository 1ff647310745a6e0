/** Reading of rooms: single events, state and members. Pages of history are in pages.ts. */
import { forbidden, notFound } from '../../spec/errors.ts'
import type { StateKey } from '../../spec/events/event.ts'
import type { RoomId, UserId } from '../../spec/ids.ts'
import { parseToken } from '../../spec/sync/token.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import { requireMembers } from './all-members.ts'
import type { Bundles } from './bundles.ts'
import type { ClientEvents } from './client-event.ts'
import { membershipIn } from './membership-row.ts'
import type { Memberships, Rooms } from './rooms.ts'
import type { View, Viewing } from './viewing.ts'

interface Needs {
  readonly events: Events
  readonly memberships: Memberships
  readonly viewing: Viewing
  readonly clientEvents: ClientEvents
  readonly bundles: Bundles
}

type Reading = Pick<Rooms, 'event' | 'state' | 'stateEvent' | 'members' | 'joinedMembers'>

export function createReading(needs: Needs): Reading {
  const { events, memberships, viewing, clientEvents, bundles } = needs

  /** What a user may look at, when all members are here; nobody else waits for them. */
  async function wholeView(user: UserId, room: RoomId): Promise<View> {
    const view = await viewing.requireView(user, room)
    if (!(await events.partial.isPartial(room))) return view
    await requireMembers(events, room)
    return await viewing.requireView(user, room)
  }

  /** State at a token of a sync or of history; of the newest event that is no newer than it. */
  async function stateAt(
    room: RoomId,
    view: View,
    at: string,
  ): Promise<ReadonlyMap<StateKey, StoredEvent>> {
    const token = parseToken(at, 'at')
    const last =
      token.kind === 'sync'
        ? await newestUpTo(room, token.position)
        : (
            await events.history(room, {
              from: { depth: token.depth, arrival: token.arrival + 1 },
              ...{ dir: 'b', limit: 1 },
            })
          )[0]
    if (last?.stateAfter === undefined) return new Map()
    const left = view.kind === 'left' ? view.at.position : undefined
    if (left !== undefined && (last.position ?? 0) > left) return await viewing.state(room, view)
    return await events.stateAt(last.stateAfter)
  }

  async function newestUpTo(room: RoomId, position: number): Promise<StoredEvent | undefined> {
    const { events: found } = await events.timeline(room, { after: 0, upTo: position, limit: 1 })
    return found.at(-1)
  }

  return {
    async event({ user }, room, id) {
      const event = (await events.get([id])).get(id)
      const isHere = event?.pdu.roomId === room && event.position !== undefined
      if (!isHere || event.rejected !== undefined) throw notFound('Event')
      const [seen] = await events.visibleTo(user, [event])
      if (seen === undefined) throw notFound('Event')
      const [whole = seen] = await bundles.attach(user, [seen])
      await clientEvents.preload([whole])
      return whole
    },
    async state({ user }, room) {
      const view = await wholeView(user, room)
      const state = [...(await viewing.state(room, view)).values()]
      await clientEvents.preload(state)
      return state
    },
    async stateEvent({ user }, room, type, stateKey) {
      const view = await viewing.requireView(user, room)
      const known = await viewing.entry(room, view, type, stateKey)
      if (known === undefined && type === 'm.room.member') await requireMembers(events, room)
      const event = known ?? (await viewing.entry(room, view, type, stateKey))
      if (event === undefined) throw notFound('Event')
      await clientEvents.preload([event])
      return event
    },
    async members({ user }, room, { at, membership, notMembership }) {
      const view = await wholeView(user, room)
      const state =
        at === undefined ? await viewing.state(room, view) : await stateAt(room, view, at)
      const members: StoredEvent[] = []
      for (const event of state.values()) {
        if (event.pdu.type !== 'm.room.member') continue
        const is = membershipIn(event.pdu.content)
        if (membership !== undefined && is !== membership) continue
        if (notMembership !== undefined && is === notMembership) continue
        members.push(event)
      }
      await clientEvents.preload(members)
      return members
    },
    async joinedMembers({ user }, room) {
      if (!(await memberships.isJoined(user, room))) {
        throw forbidden(`User ${user} not in room ${room}`)
      }
      await requireMembers(events, room)
      const rows = [...(await memberships.ofRoom(room)).values()]
      return rows.filter(({ membership }) => membership === 'join')
    },
  }
}
