/** Tells other servers who of ours is typing and who is online; they hear of presence when they come into a room, too. */
import type { Events } from '../homeserver/events/events.ts'
import type { Clock } from '../homeserver/platform/clock.ts'
import type { Logger } from '../homeserver/platform/log.ts'
import type { Presence, PresenceState } from '../homeserver/presence/presence.ts'
import type { Typing } from '../homeserver/receipts/typing.ts'
import { isEventPayload } from '../homeserver/rooms/memberships.ts'
import type { Memberships } from '../homeserver/rooms/rooms.ts'
import type { LogRow, Tail } from '../homeserver/stream/log.ts'
import { type RoomId, type ServerName, serverOfUser, type UserId } from '../spec/ids.ts'
import { stringAt } from '../spec/json.ts'
import { presenceItem } from './coalescing.ts'
import { eduText } from './outgoing.ts'
import { memberOf } from './room-servers.ts'
import type { Sender } from './sender.ts'

interface Needs {
  readonly serverName: ServerName
  readonly sender: Pick<Sender, 'sendToRoom' | 'sendTo'>
  readonly typing: Pick<Typing, 'onTyping'>
  readonly presence: Pick<Presence, 'onChange' | 'peek'>
  readonly memberships: Pick<Memberships, 'ofUser' | 'ofRoom' | 'localJoined' | 'joinedCount'>
  readonly events: Pick<Events, 'serversIn'>
  readonly tail: Pick<Tail, 'subscribe'>
  /** Whether presence is for other servers at all. */
  readonly tellsPresence: boolean
  /** In rooms of more members nobody looks who is online. */
  readonly presenceMembersMax?: number
  readonly clock: Clock
  readonly log: Logger
}

/** Users of a room whom a server is told of that comes into it. */
const introducedMax = 200

/** Starts; every process hears of every change, and sends to the destinations that it owns. */
export function tellEphemeral(needs: Needs): Disposable {
  const { sender, serverName } = needs
  const subscriptions = [
    needs.typing.onTyping(({ room, user, typing }) => {
      if (serverOfUser(user) !== serverName) return
      const text = eduText('m.typing', { room_id: room, user_id: user, typing })
      if (text === undefined) return
      sender.sendToRoom(room, { kind: 'edu', text }, `typing ${room} ${user}`)
    }),
    ...(needs.tellsPresence ? tellPresence(needs) : []),
  ]
  return {
    [Symbol.dispose]() {
      for (const subscription of subscriptions) subscription[Symbol.dispose]()
    },
  }
}

function tellPresence(needs: Needs): Disposable[] {
  const { sender, serverName, memberships, log } = needs
  const { presenceMembersMax: membersMax = Number.MAX_SAFE_INTEGER } = needs

  function tell(user: UserId, state: PresenceState, servers: Iterable<ServerName>): void {
    const item = presenceItem(presenceOf(user, state, needs.clock.now()))
    if (item !== undefined) sender.sendTo(servers, item, `presence ${user}`)
  }

  async function toEverybody(user: UserId, state: PresenceState): Promise<void> {
    const servers = new Set<ServerName>()
    for (const { room, membership } of (await memberships.ofUser(user)).values()) {
      if (membership !== 'join' || !(await isSmall(room))) continue
      for (const server of await needs.events.serversIn(room)) servers.add(server)
    }
    tell(user, state, servers)
  }

  async function isSmall(room: RoomId): Promise<boolean> {
    return (await memberships.joinedCount(room)) <= membersMax
  }

  /** Those who meet in a room learn of each other. */
  async function introduce(room: RoomId, user: UserId, position: number): Promise<void> {
    if (!(await isSmall(room))) return
    const members = await memberships.ofRoom(room)
    const row = members.get(user)
    if (row?.membership !== 'join' || row.since !== position) return
    const server = serverOfUser(user)
    if (server === serverName) {
      const state = needs.presence.peek(user)
      if (state === undefined) return
      const joined = [...members.values()].filter(({ membership }) => membership === 'join')
      return tell(user, state, new Set(joined.map((member) => serverOfUser(member.user))))
    }
    let told = 0
    for (const local of await memberships.localJoined(room)) {
      const state = needs.presence.peek(local)
      if (state === undefined) continue
      tell(local, state, [server])
      if (++told >= introducedMax) return
    }
  }

  function onRows(rows: readonly LogRow[]): void {
    for (const { kind, payload, position } of rows) {
      if (kind !== 'event' || !isEventPayload(payload) || !payload.changesState) continue
      const { pdu } = payload.event
      const member = memberOf(pdu)
      if (member === undefined || stringAt(pdu.content, 'membership') !== 'join') continue
      // Somebody who cannot be found now is told of at the next change.
      introduce(pdu.roomId, member, position).catch(complain)
    }
  }

  function complain(error: unknown): void {
    log.warn({ error }, 'presence could not be told')
  }

  return [
    needs.presence.onChange(({ user, what: _, ...state }) => {
      if (serverOfUser(user) === serverName) toEverybody(user, state).catch(complain)
    }),
    needs.tail.subscribe('presence for other servers', onRows),
  ]
}

function presenceOf(user: UserId, state: PresenceState, now: number) {
  return {
    user_id: user,
    presence: state.presence,
    last_active_ago: Math.max(0, now - state.lastActiveTs),
    currently_active: state.currentlyActive,
    ...(state.statusMsg !== undefined && { status_msg: state.statusMsg }),
  }
}
