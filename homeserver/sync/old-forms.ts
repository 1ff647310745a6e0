/** Parts of a sync in the forms that they had before there was /sync. */
import { isRoomId, type RoomId } from '../../spec/ids.ts'
import { arrayAt, isObject, type JsonObject, objectAt, stringAt } from '../../spec/json.ts'

const sections = ['join', 'invite', 'knock', 'leave'] as const
type Section = (typeof sections)[number]

/** A sync's answer as one text. */
export async function textOf(answer: string | AsyncIterable<string>): Promise<string> {
  if (typeof answer === 'string') return answer
  const pieces: string[] = []
  for await (const piece of answer) pieces.push(piece)
  return pieces.join('')
}

/** The rooms of a sync, section by section. */
export function roomsIn(answer: JsonObject): [Section, RoomId, JsonObject][] {
  const rooms = objectAt(answer, 'rooms') ?? {}
  return sections.flatMap((section) =>
    Object.entries(objectAt(rooms, section) ?? {}).flatMap(
      ([room, entry]): [Section, RoomId, JsonObject][] =>
        isRoomId(room) && isObject(entry) ? [[section, room, entry]] : [],
    ),
  )
}

/** A room of a snapshot. {@link https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3initialsync} */
export function roomOf(
  section: Section,
  room: RoomId,
  entry: JsonObject,
  user: string,
  answer: JsonObject,
): JsonObject {
  if (section === 'invite' || section === 'knock') {
    const own = eventsOf(room, objectAt(entry, `${section}_state`)).find(isMemberOf(user))
    const head = { room_id: room, membership: section }
    if (own === undefined) return head
    return section === 'knock' ? head : { ...head, invite: own, inviter: own['sender'] ?? '' }
  }
  const timeline = objectAt(entry, 'timeline') ?? {}
  const end = stringAt(answer, 'next_batch') ?? ''
  const state = eventsOf(room, objectAt(entry, 'state_after'))
  const membership = state.find(isMemberOf(user))
  return {
    room_id: room,
    membership:
      (membership && stringAt(objectAt(membership, 'content') ?? {}, 'membership')) ?? section,
    messages: {
      chunk: eventsOf(room, timeline),
      start: stringAt(timeline, 'prev_batch') ?? end,
      end,
    },
    state,
    account_data: arrayAt(objectAt(entry, 'account_data') ?? {}, 'events') ?? [],
  }
}

/** What a stream tells of a room: of one that was just joined from the join on. */
export function joinedNews(room: RoomId, entry: JsonObject, user: string): JsonObject[] {
  const timeline = eventsOf(room, objectAt(entry, 'timeline'))
  const isOwn = isMemberOf(user)
  const joined = timeline.findLastIndex((event) => isOwn(event) && isFirstJoin(event))
  const invited = eventsOf(room, objectAt(entry, 'invite_state')).filter(isOwn)
  const ephemeral = eventsOf(room, objectAt(entry, 'ephemeral'))
  return [...timeline.slice(Math.max(0, joined)), ...invited, ...ephemeral]
}

/** Presence as it was told, with the user in the content. */
export function presenceOf(answer: JsonObject): JsonObject[] {
  const events = arrayAt(objectAt(answer, 'presence') ?? {}, 'events') ?? []
  return events.filter(isObject).map((event) => ({
    type: 'm.presence',
    content: { user_id: event['sender'] ?? '', ...objectAt(event, 'content') },
  }))
}

function eventsOf(room: RoomId, list: JsonObject | undefined): JsonObject[] {
  const events = (list && arrayAt(list, 'events')) ?? []
  return events.filter(isObject).map((event) => ({ ...event, room_id: room }))
}

function isMemberOf(user: string) {
  return ({ type, state_key }: JsonObject) => type === 'm.room.member' && state_key === user
}

function isFirstJoin(event: JsonObject): boolean {
  const before = objectAt(objectAt(event, 'unsigned') ?? {}, 'prev_content')
  const isJoin = stringAt(objectAt(event, 'content') ?? {}, 'membership') === 'join'
  return isJoin && (before === undefined || before['membership'] !== 'join')
}
