import {
  isUserId,
  type RoomId,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { LogRow } from '../stream/log.ts'
import type { PushAudience } from './push-audience.ts'
import type { Push } from './push-lane.ts'
import type { PushLanes } from './push-lanes.ts'
import type { PushRules } from './push-rules.ts'
import { inTurns, type UnreadCounts } from './unread.ts'
import { nothing, type Verdicts } from './verdicts.ts'

/** Finds in the log what users are to be told, by their rules. */
export interface PushNews {
  /** Hands what the rows have for those users to their pushers. */
  take(rows: readonly LogRow[], isMine: (user: UserId) => boolean): Promise<void>
  /** The newest unread notices of a user after a position. */
  missed(user: UserId, after: number): Promise<readonly Push[]>
}

export interface PushNewsNeeds {
  readonly serverName: ServerName
  readonly events: Pick<Events, 'timeline'>
  readonly pushRules: Pick<PushRules, 'ruleset'>
  readonly unread: Pick<UnreadCounts, 'verdicts' | 'byRoom' | 'of'>
  readonly tail: { readonly position: number }
  /** Whom the user does not want to hear of. */
  readonly ignoredUsers: (user: UserId) => Promise<ReadonlySet<UserId>>
  /** Whether the user lets this one invite them. */
  readonly wantsInvite: (user: UserId, sender: UserId) => Promise<boolean>
  readonly audience: PushAudience
  readonly lanes: Pick<PushLanes, 'add' | 'checkBadge'>
  readonly withPushers: () => ReadonlySet<UserId>
}

const roomsAtOnce = 8
const usersAtOnce = 16
/** Rooms and events of a room in which is looked for what a user missed. */
const missedRoomsMax = 50
const missedPerRoomMax = 50

export function createPushNews(needs: PushNewsNeeds): PushNews {
  const { audience, lanes, unread, withPushers } = needs

  async function takeRoom(
    room: RoomId,
    rows: readonly LogRow[],
    isMine: (user: UserId) => boolean,
  ) {
    const users = (await audience.of(room)).filter(isMine)
    const events = rows.flatMap(({ payload, position }) =>
      carriesEvent(payload) ? [{ event: payload.event, position }] : [],
    )
    const isWorth = users.length > 0 || events.some(({ event }) => memberOf(event) !== undefined)
    if (!isWorth) return
    const verdicts = await unread.verdicts(room)
    await verdicts.prepare(events.map(({ event }) => event))
    for (const { event, position } of events) {
      await inTurns(users, usersAtOnce, async (user) => {
        const push = pushFor(verdicts, user, event, position)
        if (push !== undefined) await add(user, push)
      })
      if (users.includes(event.pdu.sender)) await lanes.checkBadge(event.pdu.sender)
      await takeMember(verdicts, event, position, isMine)
    }
  }

  /** An invite is told; what becomes of it changes the badge. */
  async function takeMember(
    verdicts: Verdicts,
    event: StoredEvent,
    position: number,
    isMine: (user: UserId) => boolean,
  ): Promise<void> {
    const user = memberOf(event)
    if (user === undefined || !withPushers().has(user) || !isMine(user)) return
    if (event.pdu.content['membership'] !== 'invite') return await lanes.checkBadge(user)
    if (!(await needs.wantsInvite(user, event.pdu.sender))) return
    const rules = await needs.pushRules.ruleset(user)
    const { notify, actions } = verdicts.ofOutsider(event, user, rules)
    if (notify) await add(user, { event, actions, position })
  }

  async function add(user: UserId, push: Push): Promise<void> {
    if ((await needs.ignoredUsers(user)).has(push.event.pdu.sender)) return
    await lanes.add(user, push)
  }

  /** The user of ours whom a member event is about. */
  function memberOf({ pdu }: StoredEvent): UserId | undefined {
    const { type, stateKey } = pdu
    if (type !== 'm.room.member') return undefined
    return isUserId(stateKey) && serverOfUser(stateKey) === needs.serverName ? stateKey : undefined
  }

  async function takeRow(row: LogRow, isMine: (user: UserId) => boolean): Promise<void> {
    const { user, kind, payload, position } = row
    if (user === undefined || !isMine(user)) return
    if (kind === 'receipt') await takeReceipt(user, row.room)
    else if (carriesEvent(payload)) await takeMember(nothing, payload.event, position, isMine)
  }

  async function takeReceipt(user: UserId, room: RoomId | undefined): Promise<void> {
    // From now on the room is counted here: what is stored does not know of the receipt yet.
    if (room !== undefined) await unread.of(user, [room])
    await lanes.checkBadge(user)
  }

  async function missedIn(user: UserId, room: RoomId, after: number): Promise<Push[]> {
    const range = { after, upTo: needs.tail.position, limit: missedPerRoomMax }
    const { events } = await needs.events.timeline(room, range)
    const verdicts = await unread.verdicts(room)
    await verdicts.prepare(events)
    const ignored = await needs.ignoredUsers(user)
    return events.flatMap((event) => {
      if (ignored.has(event.pdu.sender)) return []
      return pushFor(verdicts, user, event, event.position ?? 0) ?? []
    })
  }

  return {
    async take(rows, isMine) {
      const byRoom = new Map<RoomId, LogRow[]>()
      for (const row of rows) {
        if (row.kind !== 'event' || row.room === undefined) {
          await takeRow(row, isMine)
          continue
        }
        const ofRoom = byRoom.get(row.room)
        if (ofRoom === undefined) byRoom.set(row.room, [row])
        else ofRoom.push(row)
      }
      await inTurns([...byRoom], roomsAtOnce, ([room, ofRoom]) => takeRoom(room, ofRoom, isMine))
    },
    async missed(user, after) {
      const found: Push[] = []
      const rooms = [...(await unread.byRoom(user)).keys()].slice(0, missedRoomsMax)
      await inTurns(rooms, roomsAtOnce, async (room) => {
        found.push(...(await missedIn(user, room, after)))
      })
      return found.sort((a, b) => a.position - b.position)
    },
  }
}

function pushFor(
  verdicts: Verdicts,
  user: UserId,
  event: StoredEvent,
  position: number,
): Push | undefined {
  const member = verdicts.members.get(user)
  if (member === undefined || member.since >= position) return undefined
  const { notify, actions } = verdicts.of(event, member)
  return notify ? { event, actions, position } : undefined
}

function carriesEvent(payload: unknown): payload is { readonly event: StoredEvent } {
  return typeof payload === 'object' && payload !== null && 'event' in payload
}
