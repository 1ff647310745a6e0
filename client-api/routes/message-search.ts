import type { Seen } from '../../homeserver/events/events.ts'
import type { StoredEvent } from '../../homeserver/events/stored-event.ts'
import type { Requester } from '../../homeserver/rooms/rooms.ts'
import type {
  FoundContext,
  FoundMessages,
  MessageSearch,
} from '../../homeserver/search/messages.ts'
import * as api from '../../spec/api/client/message-search.ts'
import { parseRoomEventFilter } from '../../spec/sync/filter.ts'
import { raw, rawArray } from '../answer.ts'
import { given } from '../given.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { route } from '../router.ts'

/** Finding messages, names and topics. */
export const messageSearchRoutes = ({
  rooms,
  search,
}: Pick<ClientApiNeeds, 'rooms' | 'search'>) => [
  route(api.searchMessages, async ({ query, body }, who) => {
    const asked = body.search_categories.room_events
    if (asked === undefined) return { search_categories: {} }
    const { event_context: around, groupings } = asked
    const wanted: MessageSearch = {
      term: asked.search_term,
      keys: asked.keys ?? ['content.body', 'content.name', 'content.topic'],
      filter: parseRoomEventFilter(asked.filter ?? {}),
      order: asked.order_by,
      withState: asked.include_state,
      groupBy: groupings?.group_by.map(({ key }) => key) ?? [],
      ...given({ nextBatch: query.next_batch }),
      ...(around && {
        context: {
          ...{ before: around.before_limit, after: around.after_limit },
          withProfiles: around.include_profile,
        },
      }),
    }
    const text = (event: StoredEvent | Seen) => rooms.clientEvent(event, who)
    return raw(answerText(await search.messages(who, wanted), text))
  }),
]

type Text = (event: StoredEvent | Seen, who?: Requester) => string

function answerText(found: FoundMessages, text: Text): string {
  const results = found.results.map(({ rank, result, context }) =>
    objectText({
      rank: String(rank),
      result: text(result),
      ...(context && { context: contextText(context, text) }),
    }),
  )
  const state = [...found.state].map(([room, events]) => [
    room,
    rawArray(events.map((one) => text(one))),
  ])
  const groups = [...found.groups].map(([key, members]) => [
    key,
    Object.fromEntries(
      [...members].map(([value, { order, results: ids, nextBatch }]) => [
        value,
        { order, results: ids, ...given({ next_batch: nextBatch }) },
      ]),
    ),
  ])
  const fields = {
    count: String(found.count),
    highlights: JSON.stringify(found.highlights),
    results: rawArray(results),
    ...(state.length > 0 && { state: objectText(Object.fromEntries(state)) }),
    ...(groups.length > 0 && { groups: JSON.stringify(Object.fromEntries(groups)) }),
    ...(found.nextBatch !== undefined && { next_batch: JSON.stringify(found.nextBatch) }),
  }
  return objectText({ search_categories: objectText({ room_events: objectText(fields) }) })
}

function contextText(context: FoundContext, text: Text): string {
  const { start, end, before, after, profiles } = context
  return objectText({
    start: JSON.stringify(start),
    end: JSON.stringify(end),
    events_before: rawArray(before.map((one) => text(one))),
    events_after: rawArray(after.map((one) => text(one))),
    ...(profiles && { profile_info: JSON.stringify(profiles) }),
  })
}

/** A JSON object of values that are serialised already. */
function objectText(fields: Readonly<Record<string, string>>): string {
  const members = Object.entries(fields).map(([key, json]) => `${JSON.stringify(key)}:${json}`)
  return `{${members.join(',')}}`
}
