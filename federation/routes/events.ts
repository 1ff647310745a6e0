/** Events and state for servers that are in the room. */
import type { Events } from '../../homeserver/events/events.ts'
import type { StoredEvent } from '../../homeserver/events/stored-event.ts'
import type { Clock } from '../../homeserver/platform/clock.ts'
import { historyLimitMax } from '../../spec/api/federation/declare.ts'
import {
  backfill,
  getEvent,
  getEventAuth,
  getEventByTimestamp,
  getMissingEvents,
  getState,
  getStateIds,
} from '../../spec/api/federation/events.ts'
import { notFound } from '../../spec/errors.ts'
import type { EventId, RoomId, ServerName } from '../../spec/ids.ts'
import type { Access } from '../access.ts'
import { JsonText, type Route, route } from '../router.ts'

/** What the routes ask of the engine. */
export type EventsForRoutes = Pick<
  Events,
  | 'get'
  | 'serversIn'
  | 'serverMaySee'
  | 'stateAt'
  | 'authChain'
  | 'backfillFrom'
  | 'missingBetween'
  | 'closestTo'
  | 'partial'
>

interface Needs {
  readonly serverName: ServerName
  readonly events: EventsForRoutes
  readonly access: Access
  readonly clock: Clock
}

const missingEventsDefault = 10
/** How long a server waits for a state whose members are not all here yet, in ms. */
const completeMaxMs = 30_000

export function eventRoutes(needs: Needs): Route[] {
  const { events, access } = needs

  /** State before an event, and its auth chain. */
  async function stateBefore(origin: ServerName, room: RoomId, id: EventId) {
    await access.requireInRoom(origin, room)
    if (!(await events.partial.complete(room, completeMaxMs))) throw notFound('State')
    const event = await access.requireEvent(room, id)
    if (event.stateBefore === undefined) throw notFound('State')
    const state = [...(await events.stateAt(event.stateBefore)).values()]
    const chain = await events.authChain(state.map(({ pdu }) => pdu.eventId))
    return { state, chain }
  }

  return [
    route(getEvent, async ({ params }, origin) => {
      const event = (await events.get([params.eventId])).get(params.eventId)
      if (!event || event.rejected !== undefined) throw notFound('Event')
      const room = event.pdu.roomId
      const isThere = (await access.isAllowed(origin, room)) && (await isHere(origin, room))
      // What a room's history visibility allows, it allows to those who are in the room.
      if (!isThere) throw notFound('Event')
      return transaction(needs, await access.textsFor(origin, [event]))
    }),
    route(getState, async ({ params, query }, origin) => {
      const { state, chain } = await stateBefore(origin, params.roomId, query.event_id)
      return new JsonText(`{"pdus":${texts(state)},"auth_chain":${texts(chain)}}`)
    }),
    route(getStateIds, async ({ params, query }, origin) => {
      const { state, chain } = await stateBefore(origin, params.roomId, query.event_id)
      return { pdu_ids: ids(state), auth_chain_ids: ids(chain) }
    }),
    route(getEventAuth, async ({ params }, origin) => {
      await access.requireInRoom(origin, params.roomId)
      const event = await access.requireEvent(params.roomId, params.eventId)
      const chain = await events.authChain([event.pdu.eventId])
      return new JsonText(`{"auth_chain":${texts(chain)}}`)
    }),
    route(backfill, async ({ params, query }, origin) => {
      await access.requireInRoom(origin, params.roomId)
      const found = await events.backfillFrom(params.roomId, query.v, query.limit)
      return transaction(needs, await access.textsFor(origin, found))
    }),
    route(getMissingEvents, async ({ params, body }, origin) => {
      await access.requireInRoom(origin, params.roomId)
      const found = await events.missingBetween(
        params.roomId,
        body.earliest_events,
        body.latest_events,
        Math.min(body.limit ?? missingEventsDefault, historyLimitMax),
        body.min_depth ?? 0,
      )
      return new JsonText(`{"events":[${(await access.textsFor(origin, found)).join(',')}]}`)
    }),
    route(getEventByTimestamp, async ({ params, query }, origin) => {
      await access.requireInRoom(origin, params.roomId)
      const event = await events.closestTo(params.roomId, {
        ...query,
        keep: (found) => seenBy(origin, found),
      })
      if (event === undefined) throw notFound('Event')
      const { eventId, originServerTs } = event.pdu
      return { event_id: eventId, origin_server_ts: originServerTs }
    }),
  ]

  async function seenBy(origin: ServerName, found: readonly StoredEvent[]) {
    const isSeen = await Promise.all(found.map((event) => events.serverMaySee(origin, event)))
    return found.filter((_, at) => isSeen[at])
  }

  async function isHere(origin: ServerName, room: RoomId): Promise<boolean> {
    return (await events.serversIn(room)).has(origin)
  }
}

/** Events in the shape of a transaction of ours, as some endpoints answer them. */
function transaction({ serverName, clock }: Needs, pdus: readonly string[]): JsonText {
  const origin = JSON.stringify(serverName)
  return new JsonText(
    `{"origin":${origin},"origin_server_ts":${clock.now()},"pdus":[${pdus.join(',')}]}`,
  )
}

function texts(events: readonly StoredEvent[]): string {
  return `[${events.map(({ text }) => text).join(',')}]`
}

function ids(events: readonly StoredEvent[]): EventId[] {
  return events.map(({ pdu }) => pdu.eventId)
}
