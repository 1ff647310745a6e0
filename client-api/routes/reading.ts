import type { Seen } from '../../homeserver/events/events.ts'
import type { StoredEvent } from '../../homeserver/events/stored-event.ts'
import type { Requester, Rooms } from '../../homeserver/rooms/rooms.ts'
import * as api from '../../spec/api/client/reading.ts'
import { isObject, type JsonObject, objectAt } from '../../spec/json.ts'
import { raw, rawArray, rawList, rawObject } from '../answer.ts'
import { filterOf } from '../filter.ts'
import { given } from '../given.ts'
import { route } from '../router.ts'

type ReadingRooms = Pick<
  Rooms,
  | 'event'
  | 'state'
  | 'stateEvent'
  | 'members'
  | 'joinedMembers'
  | 'messages'
  | 'context'
  | 'clientEvent'
>

/** What is in rooms: answered as the text that is stored, without parsing it again. */
export const readingRoutes = ({ rooms }: { readonly rooms: ReadingRooms }) => {
  const text = (event: StoredEvent | Seen, who: Requester) => rooms.clientEvent(event, who)
  const texts = (events: readonly (StoredEvent | Seen)[], who: Requester) =>
    rawArray(events.map((event) => text(event, who)))
  /** What is left of the content when the event is redacted. */
  function contentOf(event: StoredEvent, who: Requester): JsonObject {
    if (event.redactedBy === undefined) return event.pdu.content
    const shown: unknown = JSON.parse(text(event, who))
    return (isObject(shown) && objectAt(shown, 'content')) || {}
  }

  return [
    route(api.getEvent, async ({ params }, who) =>
      raw(text(await rooms.event(who, params.roomId, params.eventId), who)),
    ),
    route(api.getEventContext, async ({ params, query }, who) => {
      const { roomId, eventId } = params
      const page = await rooms.context(who, roomId, eventId, query.limit, filterOf(query.filter))
      return rawObject({
        event: text(page.event, who),
        events_before: texts(page.before, who),
        events_after: texts(page.after, who),
        state: texts(page.state, who),
        start: JSON.stringify(page.start),
        end: JSON.stringify(page.end),
      })
    }),
    route(api.getMessages, async ({ params, query }, who) => {
      const filter = filterOf(query.filter)
      const { from, to, dir, limit } = query
      const asked = { dir, limit, ...given({ from, to, filter }) }
      const page = await rooms.messages(who, params.roomId, asked)
      return rawObject({
        start: JSON.stringify(page.start),
        ...(page.end !== undefined && { end: JSON.stringify(page.end) }),
        chunk: texts(page.chunk, who),
        ...(page.state.length > 0 && { state: texts(page.state, who) }),
      })
    }),
    route(api.getState, async ({ params }, who) => {
      const state = await rooms.state(who, params.roomId)
      return rawList(state, (event) => text(event, who), { open: '[', close: ']' })
    }),
    route(api.getStateEvent, async ({ params, query }, who) => {
      const { roomId, eventType, stateKey } = params
      const event = await rooms.stateEvent(who, roomId, eventType, stateKey)
      return query.format === 'event' ? raw(text(event, who)) : contentOf(event, who)
    }),
    route(api.getMembers, async ({ params, query }, who) => {
      const { at, membership, not_membership: notMembership } = query
      const filter = given({ at, membership, notMembership })
      const members = await rooms.members(who, params.roomId, filter)
      return rawList(members, (event) => text(event, who), { open: '{"chunk":[', close: ']}' })
    }),
    route(api.getJoinedMembers, async ({ params }, who) => {
      const members = await rooms.joinedMembers(who, params.roomId)
      return {
        joined: Object.fromEntries(
          members.map(({ user, displayName, avatarUrl }) => [
            user,
            given({ display_name: displayName, avatar_url: avatarUrl }),
          ]),
        ),
      }
    }),
  ]
}
