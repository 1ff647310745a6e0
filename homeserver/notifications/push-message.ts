/** What a push gateway is told. {@link https://spec.matrix.org/v1.19/push-gateway-api/#post_matrixpushv1notify} */
import type { RoomId, UserId } from '../../spec/ids.ts'
import { type Json, type JsonObject, objectAt, stringAt } from '../../spec/json.ts'
import type { PushAction } from '../../spec/push/rules.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { MembershipRow, Memberships } from '../rooms/rooms.ts'
import type { StoredPusher } from './pushers.ts'

export interface MessageNeeds {
  readonly events: Pick<Events, 'currentEntry'>
  readonly memberships: Pick<Memberships, 'ofRoom'>
  /** What another server told of a room with its invite. */
  readonly strippedState: (room: RoomId, user: UserId) => Promise<readonly JsonObject[]>
  /** Whether gateways are told what was said. */
  readonly includesContent: boolean
}

const nameLengthMax = 255

/** An event of which a user is to be told. */
export interface Notice {
  readonly event: StoredEvent
  readonly actions: readonly PushAction[]
}

/** A client that keeps its own badge. {@link https://github.com/matrix-org/matrix-spec-proposals/pull/4076} */
export function keepsOwnBadge({ data }: StoredPusher): boolean {
  return (
    data['org.matrix.msc4076.disable_badge_count'] === true || data['disable_badge_count'] === true
  )
}

/** The notification of an event; `unread` is the number on the badge. */
export async function eventMessage(
  needs: MessageNeeds,
  user: UserId,
  pusher: StoredPusher,
  { event, actions }: Notice,
  unread: number,
): Promise<JsonObject> {
  const { pdu } = event
  const tweaks = tweaksOf(actions)
  const head = {
    event_id: pdu.eventId,
    room_id: pdu.roomId,
    prio: isUrgent(event, tweaks) ? 'high' : 'low',
    ...countsOf(pusher, unread),
  }
  if (pusher.data['format'] === 'event_id_only') return { ...head, devices: [deviceOf(pusher)] }
  const { roomName, senderName } = await namesFor(needs, event, user)
  const content = needs.includesContent ? shownContent(event) : undefined
  const isMember = pdu.type === 'm.room.member' && pdu.stateKey !== undefined
  return {
    ...head,
    type: pdu.type,
    sender: pdu.sender,
    sender_display_name: senderName || pdu.sender,
    ...(roomName !== undefined && { room_name: roomName }),
    ...(content !== undefined && { content }),
    ...(isMember && {
      user_is_target: pdu.stateKey === user,
      membership: stringAt(pdu.content, 'membership') ?? 'leave',
    }),
    devices: [{ ...deviceOf(pusher), tweaks }],
  }
}

/** A new number for the badge and nothing else; zero is said, because apps clear the badge by it. */
export function badgeMessage(pusher: StoredPusher, unread: number): JsonObject {
  return { counts: { unread }, devices: [deviceOf(pusher)] }
}

function countsOf(pusher: StoredPusher, unread: number): JsonObject {
  return unread === 0 || keepsOwnBadge(pusher) ? {} : { counts: { unread } }
}

function deviceOf({ appId, pushkey, updatedAt, data }: StoredPusher): JsonObject {
  const { url: _, ...rest } = data
  return {
    app_id: appId,
    pushkey,
    pushkey_ts: Math.floor(updatedAt / 1000),
    data: rest,
  }
}

/** {@link https://spec.matrix.org/v1.19/client-server-api/#actions} */
function tweaksOf(actions: readonly PushAction[]): Record<string, Json> {
  const tweaks: Record<string, Json> = {}
  for (const action of actions) {
    if (typeof action === 'object') tweaks[action.set_tweak] = action.value ?? true
  }
  return tweaks
}

/** What rings, is marked, or may be either once it is decrypted. */
function isUrgent({ pdu }: StoredEvent, tweaks: Readonly<Record<string, Json>>): boolean {
  const { sound, highlight } = tweaks
  return pdu.type === 'm.room.encrypted' || Boolean(sound) || Boolean(highlight)
}

function shownContent({ pdu, redactedBy }: StoredEvent): JsonObject | undefined {
  return redactedBy === undefined && Object.keys(pdu.content).length > 0 ? pdu.content : undefined
}

/** How the room and the sender are called. */
async function namesFor(needs: MessageNeeds, event: StoredEvent, user: UserId) {
  const { roomId, sender } = event.pdu
  // An invite from outside: the room is not here.
  if (event.stateAfter === undefined && event.position === undefined) {
    return toldNames(await needs.strippedState(roomId, user), sender)
  }
  const rows = await needs.memberships.ofRoom(roomId)
  const roomName = await nameOf(needs, event, rows, user)
  return { roomName, senderName: rows.get(sender)?.displayName }
}

/** The same as another server tells it; bounded like everything that it sends. */
function toldNames(state: readonly JsonObject[], sender: UserId) {
  const textOf = (type: string, key: string, name: string) => {
    const event = state.find((one) => one['type'] === type && one['state_key'] === key)
    return stringAt(objectAt(event ?? {}, 'content') ?? {}, name)?.slice(0, nameLengthMax)
  }
  const name = textOf('m.room.name', '', 'name') || textOf('m.room.canonical_alias', '', 'alias')
  const senderName = textOf('m.room.member', sender, 'displayname')
  return { roomName: name || undefined, senderName }
}

/** {@link https://spec.matrix.org/v1.19/client-server-api/#calculating-the-display-name-for-a-room} */
async function nameOf(
  { events }: MessageNeeds,
  event: StoredEvent,
  rows: ReadonlyMap<UserId, MembershipRow>,
  self: UserId,
): Promise<string | undefined> {
  const contentOf = async (type: string) =>
    (await events.currentEntry(event.pdu.roomId, type, ''))?.pdu.content ?? {}
  const name = stringAt(await contentOf('m.room.name'), 'name')
  if (name) return name
  const alias = stringAt(await contentOf('m.room.canonical_alias'), 'alias')
  return alias || namesOf(event, rows, self)
}

/** The first who came, by name. */
function namesOf(
  event: StoredEvent,
  rows: ReadonlyMap<UserId, MembershipRow>,
  self: UserId,
): string | undefined {
  const known = crowds.get(event) ?? crowdOf(rows)
  crowds.set(event, known)
  const [first, second] = known.first.filter(({ user }) => user !== self)
  if (first === undefined) return undefined
  if (second === undefined) return shownName(first)
  const others = known.size - (isHere(rows.get(self)) ? 3 : 2)
  const names = [shownName(first), shownName(second)]
  return others > 0 ? `${names.join(', ')} and ${others} others` : names.join(' and ')
}

/** Whoever is in a room or invited: how many, and the three who came first. */
interface Crowd {
  readonly size: number
  readonly first: readonly MembershipRow[]
}

/** The message for each of a thousand members has the same people in it. */
const crowds = new WeakMap<StoredEvent, Crowd>()

function crowdOf(rows: ReadonlyMap<UserId, MembershipRow>): Crowd {
  const first: MembershipRow[] = []
  let size = 0
  for (const row of rows.values()) {
    if (!isHere(row)) continue
    size += 1
    if (first.length === 3 && row.since >= (first[2]?.since ?? 0)) continue
    first.push(row)
    first.sort((a, b) => a.since - b.since)
    if (first.length > 3) first.pop()
  }
  return { size, first }
}

function isHere(row: MembershipRow | undefined): boolean {
  return row?.membership === 'join' || row?.membership === 'invite'
}

function shownName({ displayName, user }: MembershipRow): string {
  return displayName || user
}
